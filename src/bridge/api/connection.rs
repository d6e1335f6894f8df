//! `request.connection`: the raw socket as handlers see it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::bridge::python::convert::{self, with_bytes};
use crate::bridge::python::detach::detached;
use crate::bridge::python::exceptions::os_error;
use crate::bridge::python::refusals::memory_error;
use crate::websocket::memory;
use crate::wire::socket::{Socket, carries_data};

/// So many bytes at most are written without letting go of Python, if they go out at once: with many connections that
/// takes less time than to get Python back.
const SMALL: usize = 4096;

/// The connection of a request: unbuffered bytes, past all framing.
#[pyclass(frozen, dict, weakref, module = "wshost")]
pub struct Connection {
    pub(crate) socket: Arc<Socket>,
    /// The client's address: `(host, port)`, for IPv6 `(host, port, flowinfo, scope_id)`.
    #[pyo3(get)]
    remote_addr: Py<PyTuple>,
    /// The server's `(name, port)` as configured.
    #[pyo3(get)]
    local_addr: (String, u16),
    head: Box<[u8]>,
}

impl Connection {
    pub(crate) fn new(
        py: Python<'_>,
        socket: Arc<Socket>,
        local_addr: (String, u16),
        head: &[u8],
    ) -> PyResult<Self> {
        let remote_addr = address(py, socket.peer)?.unbind();
        Ok(Self { socket, remote_addr, local_addr, head: head.into() })
    }

    /// The client's address as Python's sockets give it.
    pub(crate) fn remote_addr(&self, py: Python<'_>) -> Py<PyTuple> {
        self.remote_addr.clone_ref(py)
    }
}

/// An address as Python's sockets give it.
pub(crate) fn address(py: Python<'_>, address: SocketAddr) -> PyResult<Bound<'_, PyTuple>> {
    let host = address.ip().to_string();
    match address {
        SocketAddr::V4(address) => (host, address.port()).into_pyobject(py),
        SocketAddr::V6(address) => {
            (host, address.port(), address.flowinfo(), address.scope_id()).into_pyobject(py)
        }
    }
}

#[pymethods]
impl Connection {
    /// Writes `data` (bytes-like) at once, unbuffered and unchecked; returns the number of bytes.
    ///
    /// Raises `TypeError` for `str`, `OSError` when the peer is gone. May be called from any thread.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let written = with_bytes(data, |bytes| self.send(py, bytes, &[]).map(|()| bytes.len()))?;
        written.map_err(|error| os_error(py, &error))
    }

    /// One raw read of at most `length` bytes; waits for the first one. `b''` at the end of the stream.
    ///
    /// Raises `OSError` when the connection is broken. A negative length reads to the end.
    fn read<'py>(&self, py: Python<'py>, length: isize) -> PyResult<Bound<'py, PyBytes>> {
        let Ok(length) = usize::try_from(length) else {
            return self.read_to_end(py);
        };
        convert::bytes(py, &self.read_some(py, length)?)
    }

    /// The lines of the request head as received, line ends included.
    fn get_memorized_lines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let lines: Vec<&[u8]> = self.head.split_inclusive(|&byte| byte == b'\n').collect();
        PyList::new(py, lines.into_iter().map(|line| PyBytes::new(py, line)))
    }

    /// See `remote_addr`.
    fn get_remote_addr(&self, py: Python<'_>) -> Py<PyTuple> {
        self.remote_addr(py)
    }

    /// See `local_addr`.
    fn get_local_addr(&self) -> (String, u16) {
        self.local_addr.clone()
    }

    /// The client's IP address (Apache's mod_python had it; some old handlers read it).
    #[getter]
    fn remote_ip(&self) -> String {
        self.socket.peer.ip().to_string()
    }
}

impl Connection {
    /// Writes `head` and `body` as one piece.
    pub(crate) fn send(&self, py: Python<'_>, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.send_before(py, head, body, false)
    }

    /// The same; when there is `more` to come, it may go out together with that.
    fn send_before(&self, py: Python<'_>, head: &[u8], body: &[u8], more: bool) -> io::Result<()> {
        let socket = &self.socket;
        if head.len() + body.len() > SMALL {
            return detached(py, || socket.write(head, body));
        }
        match socket.write_now(head, body, more)? {
            None => Ok(()),
            Some(unwritten) => detached(py, || unwritten.finish(head, body)),
        }
    }

    /// Writes a frame that lies in two places.
    pub(crate) fn send_frame(&self, py: Python<'_>, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.socket.announce_write(head);
        let more = carries_data(head) && self.socket.has_next_frame();
        self.send_before(py, head, body, more)?;
        self.socket.count_written(head);
        Ok(())
    }

    fn read_some(&self, py: Python<'_>, length: usize) -> PyResult<Vec<u8>> {
        detached(py, || self.socket.read_some(length)).map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory => memory_error(),
            _ => os_error(py, &error),
        })
    }

    fn read_to_end<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut all = Vec::new();
        loop {
            let data = self.read_some(py, usize::MAX)?;
            if data.is_empty() {
                return convert::bytes(py, &all);
            }
            memory::append(&mut all, &data).map_err(|_| memory_error())?;
        }
    }
}
