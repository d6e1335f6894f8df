import os

_KEY = os.environ["NO_SUCH_VARIABLE_AT_ALL"]
