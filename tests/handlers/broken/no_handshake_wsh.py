def web_socket_transfer_data(request):
    pass
