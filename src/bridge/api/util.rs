//! The native part of `pywebsocket3.util`: maskers, DEFLATE, small byte helpers.

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::bridge::python::convert::{self, copied, with_bytes};
use crate::bridge::python::logging::{Level, Logger, repr};
use crate::bridge::python::refusals::{inflate_error, memory_error};
use crate::locks::Lock;
use crate::websocket::deflate::{
    Deflater, Flush, Inflater, MAX_WINDOW_BITS, MessageDeflater, MessageInflater,
};
use crate::websocket::mask::apply_repeated_key;
use crate::wire::limits::Limits;

/// The reference's loggers of DEFLATE; `--deflate-log-level` sets their level.
pub(crate) static DEFLATER_LOG: Logger = Logger::new("pywebsocket3.util._Deflater");
/// See [`DEFLATER_LOG`].
pub(crate) static INFLATER_LOG: Logger = Logger::new("pywebsocket3.util._Inflater");

/// Window bits that zlib takes for raw DEFLATE; others are the `ValueError` of Python's zlib.
fn valid_window_bits(bits: i64) -> PyResult<u8> {
    u8::try_from(bits)
        .ok()
        .filter(|bits| (8..=MAX_WINDOW_BITS).contains(bits))
        .ok_or_else(|| PyValueError::new_err("Invalid initialization option"))
}

/// A byte of value `b`, 0 to 255.
#[pyfunction]
pub fn pack_byte(py: Python<'_>, b: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    Ok(py.import("struct")?.call_method1("pack", ("!B", b))?.unbind())
}

/// Two hexadecimal digits for each byte, with spaces between.
#[pyfunction]
pub fn hexify(s: Bound<'_, PyAny>) -> PyResult<String> {
    with_bytes(&s, |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
}

/// Masks bytes with a key that is repeated; goes on where the last call ended (RFC 6455 section 5.3).
#[pyclass(frozen, subclass, module = "pywebsocket3.util")]
pub struct RepeatedXorMasker {
    key: Vec<u8>,
    position: Lock<usize>,
}

#[pymethods]
impl RepeatedXorMasker {
    #[new]
    fn new(masking_key: Bound<'_, PyAny>) -> PyResult<Self> {
        let key = copied(&masking_key)?;
        Ok(Self { key, position: Lock::new(0) })
    }

    /// The masked bytes. Raises `Exception` for `str`.
    fn mask<'py>(&self, s: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = s.py();
        if s.is_instance_of::<PyString>() {
            return Err(PyException::new_err("Masking Operation should not process unicode strings"));
        }
        let mut data = copied(&s)?;
        if !self.key.is_empty() {
            let mut position = self.position.lock();
            apply_repeated_key(&mut data, &self.key, *position);
            *position = (*position + data.len()) % self.key.len();
        }
        convert::bytes(py, &data)
    }
}

/// A masker that changes nothing.
#[pyclass(frozen, subclass, module = "pywebsocket3.util")]
pub struct NoopMasker;

#[pymethods]
impl NoopMasker {
    #[new]
    fn new() -> Self {
        Self
    }

    /// `s` itself.
    #[allow(clippy::unused_self, reason = "a method in the reference")]
    fn mask<'py>(&self, s: Bound<'py, PyAny>) -> Bound<'py, PyAny> {
        s
    }
}

/// Compresses to raw DEFLATE (RFC 1951).
#[pyclass(name = "_Deflater", frozen, subclass, module = "pywebsocket3.util")]
pub struct PyDeflater(Lock<Deflater>);

impl PyDeflater {
    fn run<'py>(&self, data: &Bound<'py, PyAny>, flush: Flush) -> PyResult<Bound<'py, PyBytes>> {
        let py = data.py();
        let compressed = with_bytes(data, |bytes| self.0.lock().compress(bytes, flush))?;
        let compressed = convert::bytes(py, &compressed.map_err(|_| memory_error())?)?;
        DEFLATER_LOG
            .log(py, Level::Debug, || format!("Compress input {}, result {}", repr(data), repr(&compressed)));
        Ok(compressed)
    }
}

#[pymethods]
impl PyDeflater {
    /// `window_bits` from 8 to 15; 8 works as 9, whose output fits a window of 8 bits, too.
    #[new]
    fn new(window_bits: i64) -> PyResult<Self> {
        Ok(Self(Lock::new(Deflater::new(valid_window_bits(window_bits.max(9))?))))
    }

    /// What can be given out of all input so far.
    fn compress<'py>(&self, bytes: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        self.run(&bytes, Flush::None)
    }

    /// All input so far, ending with an empty stored block.
    fn compress_and_flush<'py>(&self, bytes: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        self.run(&bytes, Flush::Sync)
    }

    /// All input so far, ending with a final block.
    fn compress_and_finish<'py>(&self, bytes: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        self.run(&bytes, Flush::Finish)
    }
}

/// Decompresses raw DEFLATE, one stream after another.
#[pyclass(name = "_Inflater", frozen, subclass, module = "pywebsocket3.util")]
pub struct PyInflater(Lock<Inflater>);

#[pymethods]
impl PyInflater {
    /// `window_bits` from 8 to 15.
    #[new]
    fn new(window_bits: i64) -> PyResult<Self> {
        Ok(Self(Lock::new(Inflater::new(valid_window_bits(window_bits)?))))
    }

    /// Up to `size` bytes, all there are for -1. Raises `zlib.error` for corrupt data.
    fn decompress(&self, py: Python<'_>, size: isize) -> PyResult<Py<PyBytes>> {
        let max = match usize::try_from(size) {
            Ok(0) => return Err(PyException::new_err("size must be -1 or positive")),
            Ok(size) => Some(size),
            Err(_) if size == -1 => None,
            Err(_) => return Err(PyException::new_err("size must be -1 or positive")),
        };
        let data =
            self.0.lock().decompress(max).map_err(|error| inflate_error(py, &error, Limits::for_others()))?;
        let data = convert::bytes(py, &data)?;
        INFLATER_LOG.log(py, Level::Debug, || format!("Decompressed {}", repr(&data)));
        Ok(data.unbind())
    }

    /// Adds compressed bytes.
    fn append(&self, data: Bound<'_, PyAny>) -> PyResult<()> {
        INFLATER_LOG.log(data.py(), Level::Debug, || format!("Appended {}", repr(&data)));
        with_bytes(&data, |bytes| self.0.lock().append(bytes))?.map_err(|_| memory_error())
    }

    /// Forgets the stream that is being decompressed.
    fn reset(&self) {
        self.0.lock().reset();
    }
}

/// Compresses messages for permessage-deflate (RFC 7692 section 7.2.1).
#[pyclass(name = "_RFC1979Deflater", frozen, subclass, module = "pywebsocket3.util")]
pub struct PyMessageDeflater {
    deflater: Lock<MessageDeflater>,
    /// The window that was asked for, 8 to 15.
    #[pyo3(get, name = "_window_bits")]
    window_bits: u8,
    /// Whether each message starts with an empty window.
    #[pyo3(get, name = "_no_context_takeover")]
    no_context_takeover: bool,
}

#[pymethods]
impl PyMessageDeflater {
    #[new]
    pub(crate) fn new(window_bits: Option<u8>, no_context_takeover: bool) -> Self {
        let window_bits = window_bits.unwrap_or(MAX_WINDOW_BITS);
        let deflater = Lock::new(MessageDeflater::new(window_bits, no_context_takeover));
        Self { deflater, window_bits, no_context_takeover }
    }

    /// A message, or a piece of one; `bfinal` closes the DEFLATE stream with it.
    #[pyo3(signature = (bytes, end=true, bfinal=false))]
    pub(crate) fn filter<'py>(
        &self,
        bytes: Bound<'py, PyAny>,
        end: bool,
        bfinal: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let compressed = with_bytes(&bytes, |bytes| self.deflater.lock().filter(bytes, end, bfinal))?;
        convert::bytes(bytes.py(), &compressed.map_err(|_| memory_error())?)
    }
}

/// Decompresses messages of permessage-deflate (RFC 7692 section 7.2.2).
#[pyclass(name = "_RFC1979Inflater", frozen, subclass, module = "pywebsocket3.util")]
pub struct PyMessageInflater(Lock<MessageInflater>);

#[pymethods]
impl PyMessageInflater {
    #[new]
    #[pyo3(signature = (window_bits=MAX_WINDOW_BITS), text_signature = "(window_bits=15)")]
    pub(crate) fn new(window_bits: u8) -> Self {
        Self(Lock::new(MessageInflater::new(window_bits)))
    }

    /// The message of a compressed payload. Raises `zlib.error` for corrupt data, `MessageTooBigException`
    /// above the size limit.
    pub(crate) fn filter<'py>(&self, bytes: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = bytes.py();
        let limits = Limits::for_others();
        let inflated = with_bytes(&bytes, |bytes| self.0.lock().inflate(bytes, limits.max_message_size()))?;
        convert::bytes(py, &inflated.map_err(|error| inflate_error(py, &error, limits))?)
    }
}
