//! What a handler file has for its connections.

use pyo3::IntoPyObjectExt;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// The functions of a handler file.
#[pyclass(name = "_HandlerSuite", frozen, get_all, module = "pywebsocket3.dispatch")]
pub struct HandlerSuite {
    /// `web_socket_do_extra_handshake`.
    pub(crate) do_extra_handshake: Py<PyAny>,
    /// `web_socket_transfer_data`.
    pub(crate) transfer_data: Py<PyAny>,
    /// `web_socket_passive_closing_handshake`, or the default.
    pub(crate) passive_closing_handshake: Py<PyAny>,
}

#[pymethods]
impl HandlerSuite {
    /// A suite of three functions.
    #[new]
    pub(crate) fn new(
        do_extra_handshake: Py<PyAny>,
        transfer_data: Py<PyAny>,
        passive_closing_handshake: Py<PyAny>,
    ) -> Self {
        Self { do_extra_handshake, transfer_data, passive_closing_handshake }
    }

    /// A function may lead back to its suite; the garbage collector has to see that.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.do_extra_handshake)?;
        visit.call(&self.transfer_data)?;
        visit.call(&self.passive_closing_handshake)
    }
}

/// What the registry holds for each file.
pub(crate) type Suite = Py<HandlerSuite>;

/// The reply of handlers without `web_socket_passive_closing_handshake`: `(1000, '')`.
#[pyfunction(name = "_default_passive_closing_handshake_handler")]
pub fn default_passive_closing_handshake(request: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    (1000, "").into_bound_py_any(request.py())
}
