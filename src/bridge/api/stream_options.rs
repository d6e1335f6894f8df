//! `stream.StreamOptions`: how a stream treats frames and messages, and how a stream asks for it.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyTuple};

use crate::locks::{self, Lock};

/// The four lists of filters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Filters {
    /// Of frames that are sent.
    OutgoingFrame,
    /// Of frames that come.
    IncomingFrame,
    /// Of messages that are sent, before the frame filters.
    OutgoingMessage,
    /// Of messages that come, after the frame filters.
    IncomingMessage,
}

impl Filters {
    fn name(self) -> &'static str {
        match self {
            Self::OutgoingFrame => "outgoing_frame_filters",
            Self::IncomingFrame => "incoming_frame_filters",
            Self::OutgoingMessage => "outgoing_message_filters",
            Self::IncomingMessage => "incoming_message_filters",
        }
    }
}

/// The three switches.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Switch {
    /// Text is encoded as UTF-8 after the filters.
    EncodeText,
    /// Frames that are sent are masked.
    MaskSend,
    /// Frames that come must be masked.
    UnmaskReceive,
}

impl Switch {
    fn name(self) -> &'static str {
        match self {
            Self::EncodeText => "encode_text_message_to_utf8",
            Self::MaskSend => "mask_send",
            Self::UnmaskReceive => "unmask_receive",
        }
    }

    fn is_on_at_first(self) -> bool {
        !matches!(self, Self::MaskSend)
    }
}

/// How a stream treats frames and messages: no filters, text encoded as UTF-8, frames unmasked in and not masked out,
/// which is a server's stream. Filters are objects with a `filter` method.
///
/// Any value may be put into any attribute, as into a plain one. What nobody asks for or sets takes no memory.
#[pyclass(frozen, dict, subclass, module = "pywebsocket3.stream")]
#[derive(Default)]
pub struct StreamOptions(Lock<Values>);

/// The values that were asked for or set.
#[derive(Default)]
struct Values {
    filters: [Option<Py<PyAny>>; 4],
    switches: [Option<Py<PyAny>>; 3],
}

impl StreamOptions {
    /// A list of filters; a new one when there was none, for somebody to fill.
    fn list(&self, py: Python<'_>, which: Filters) -> Py<PyAny> {
        let get = || self.0.lock().filters[which as usize].as_ref().map(|list| list.clone_ref(py));
        get().unwrap_or_else(|| {
            // Made without the lock: it may set off the garbage collector, and that code which comes back here.
            let list = PyList::empty(py).into_any().unbind();
            self.0.lock().filters[which as usize].get_or_insert(list).clone_ref(py)
        })
    }

    fn set_list(&self, which: Filters, value: Py<PyAny>) {
        // The old value must not be dropped with the lock held: a `__del__` may come back here.
        let old = self.0.lock().filters[which as usize].replace(value);
        drop(old);
    }

    fn switch(&self, py: Python<'_>, which: Switch) -> Py<PyAny> {
        let value = self.0.lock().switches[which as usize].as_ref().map(|value| value.clone_ref(py));
        value.unwrap_or_else(|| PyBool::new(py, which.is_on_at_first()).to_owned().into_any().unbind())
    }

    fn set_switch(&self, which: Switch, value: Py<PyAny>) {
        let old = self.0.lock().switches[which as usize].replace(value);
        drop(old);
    }
}

#[pymethods]
impl StreamOptions {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    /// Filters may lead back to the stream; the garbage collector has to see that.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever holds the lock is in the middle of a change, and the object alive.
        let Some(values) = self.0.try_lock() else { return Ok(()) };
        values.filters.iter().chain(&values.switches).try_for_each(|value| visit.call(value))
    }

    /// Filters of frames that are sent: `filter(frame)` changes a `Frame`.
    #[getter]
    fn outgoing_frame_filters(&self, py: Python<'_>) -> Py<PyAny> {
        self.list(py, Filters::OutgoingFrame)
    }

    #[setter]
    fn set_outgoing_frame_filters(&self, value: Py<PyAny>) {
        self.set_list(Filters::OutgoingFrame, value);
    }

    /// Filters of frames that come: `filter(frame)` changes a `Frame`.
    #[getter]
    fn incoming_frame_filters(&self, py: Python<'_>) -> Py<PyAny> {
        self.list(py, Filters::IncomingFrame)
    }

    #[setter]
    fn set_incoming_frame_filters(&self, value: Py<PyAny>) {
        self.set_list(Filters::IncomingFrame, value);
    }

    /// Filters of messages that are sent: `filter(message, end, binary)` gives the message or bytes.
    #[getter]
    fn outgoing_message_filters(&self, py: Python<'_>) -> Py<PyAny> {
        self.list(py, Filters::OutgoingMessage)
    }

    #[setter]
    fn set_outgoing_message_filters(&self, value: Py<PyAny>) {
        self.set_list(Filters::OutgoingMessage, value);
    }

    /// Filters of messages that come: `filter(message)` takes and gives bytes.
    #[getter]
    fn incoming_message_filters(&self, py: Python<'_>) -> Py<PyAny> {
        self.list(py, Filters::IncomingMessage)
    }

    #[setter]
    fn set_incoming_message_filters(&self, value: Py<PyAny>) {
        self.set_list(Filters::IncomingMessage, value);
    }

    /// Whether text is encoded as UTF-8 after the filters. At first it is.
    #[getter]
    fn encode_text_message_to_utf8(&self, py: Python<'_>) -> Py<PyAny> {
        self.switch(py, Switch::EncodeText)
    }

    #[setter]
    fn set_encode_text_message_to_utf8(&self, value: Py<PyAny>) {
        self.set_switch(Switch::EncodeText, value);
    }

    /// Whether frames that are sent are masked, as a client's are. At first they are not.
    #[getter]
    fn mask_send(&self, py: Python<'_>) -> Py<PyAny> {
        self.switch(py, Switch::MaskSend)
    }

    #[setter]
    fn set_mask_send(&self, value: Py<PyAny>) {
        self.set_switch(Switch::MaskSend, value);
    }

    /// Whether frames that come must be masked. At first they must.
    #[getter]
    fn unmask_receive(&self, py: Python<'_>) -> Py<PyAny> {
        self.switch(py, Switch::UnmaskReceive)
    }

    #[setter]
    fn set_unmask_receive(&self, value: Py<PyAny>) {
        self.set_switch(Switch::UnmaskReceive, value);
    }
}

/// A list of filters in the options of a stream, which are a [`StreamOptions`] or anything with its attributes. `None`:
/// no filter is in it.
pub(crate) fn filters<'py>(
    options: &Bound<'py, PyAny>,
    which: Filters,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = options.py();
    let filters = if let Ok(own) = options.cast_exact::<StreamOptions>() {
        let values = own.get().0.lock();
        let Some(filters) = &values.filters[which as usize] else { return Ok(None) };
        filters.bind(py).clone()
    } else {
        locks::handlers_code_may_run();
        options.getattr(which.name())?
    };
    let is_empty = if let Ok(list) = filters.cast_exact::<PyList>() {
        list.is_empty()
    } else {
        locks::handlers_code_may_run();
        !filters.is_truthy()?
    };
    Ok((!is_empty).then_some(filters))
}

/// A switch in the options of a stream, which are a [`StreamOptions`] or anything with its attributes.
pub(crate) fn is_on(options: &Bound<'_, PyAny>, which: Switch) -> PyResult<bool> {
    let value = if let Ok(own) = options.cast_exact::<StreamOptions>() {
        let values = own.get().0.lock();
        let Some(value) = &values.switches[which as usize] else { return Ok(which.is_on_at_first()) };
        value.bind(options.py()).clone()
    } else {
        locks::handlers_code_may_run();
        options.getattr(which.name())?
    };
    locks::none_is_held();
    value.is_truthy()
}

/// Whether what is received can be asked about without running code of handlers: the options are a [`StreamOptions`] and
/// its lists of incoming filters are lists.
pub(crate) fn are_plain(options: &Bound<'_, PyAny>) -> bool {
    let Ok(own) = options.cast_exact::<StreamOptions>() else { return false };
    let values = own.get().0.lock();
    [Filters::IncomingFrame, Filters::IncomingMessage].iter().all(|&which| {
        let list = values.filters[which as usize].as_ref().map(|list| list.bind(options.py()));
        list.is_none_or(PyAnyMethods::is_exact_instance_of::<PyList>)
    })
}
