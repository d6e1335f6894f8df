//! `common.ExtensionParameter`: an extension with its parameters, and how it stands in a header.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::bridge::python::exceptions::EXTENSION_PARSING;
use crate::bridge::python::logging::quoted;
use crate::websocket::header::{self, ExtensionError};

/// An extension with its parameters, as offered or accepted (RFC 6455 section 9.1).
///
/// `_name` and `_parameters` are plain attributes; the latter is a list of `(name, value)` pairs, the value
/// `None` where there is none.
#[pyclass(frozen, dict, subclass, module = "pywebsocket3.common")]
pub struct ExtensionParameter;

#[pymethods]
impl ExtensionParameter {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(name)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    /// An extension without parameters.
    fn __init__(slf: &Bound<'_, Self>, name: Bound<'_, PyAny>) -> PyResult<()> {
        slf.setattr("_name", name)?;
        slf.setattr("_parameters", PyList::empty(slf.py()))
    }

    /// The extension's name.
    fn name<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("_name")
    }

    /// Adds a parameter; `None` for one without a value.
    fn add_parameter(slf: &Bound<'_, Self>, name: Bound<'_, PyAny>, value: Bound<'_, PyAny>) -> PyResult<()> {
        Self::get_parameters(slf)?.call_method1("append", ((name, value),)).map(drop)
    }

    /// The list of `(name, value)` pairs itself.
    pub(crate) fn get_parameters<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("_parameters")
    }

    /// The names, repeated ones included.
    fn get_parameter_names<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        Self::get_parameters(slf)?.try_iter()?.map(|pair| pair?.get_item(0)).collect()
    }

    /// Whether there is a parameter of this name.
    fn has_parameter(slf: &Bound<'_, Self>, name: Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(Self::find(slf, &name)?.is_some())
    }

    /// The value of the first parameter of this name, `None` when there is none.
    fn get_parameter_value<'py>(
        slf: &Bound<'py, Self>,
        name: Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Self::find(slf, &name)?.map(|pair| pair.get_item(1)).transpose()
    }
}

impl ExtensionParameter {
    pub(crate) fn create(name: Bound<'_, PyAny>) -> PyResult<Bound<'_, Self>> {
        let extension = Bound::new(name.py(), Self)?;
        Self::__init__(&extension, name)?;
        Ok(extension)
    }

    fn find<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        for pair in Self::get_parameters(slf)?.try_iter()? {
            let pair = pair?;
            if pair.get_item(0)?.eq(name)? {
                return Ok(Some(pair));
            }
        }
        Ok(None)
    }
}

/// The extensions of a `Sec-WebSocket-Extensions` value.
///
/// Raises `ExtensionParsingException` for what the grammar does not allow, and for a value without any.
#[pyfunction]
pub fn parse_extensions<'py>(py: Python<'py>, data: &str) -> PyResult<Bound<'py, PyList>> {
    let extensions =
        header::parse_extensions(data).map_err(|error| EXTENSION_PARSING.error(py, explain(py, error)))?;
    let list = PyList::empty(py);
    for extension in extensions {
        let parameter = ExtensionParameter::create(PyString::new(py, &extension.name).into_any())?;
        parameter.setattr("_parameters", extension.parameters)?;
        list.append(parameter)?;
    }
    Ok(list)
}

/// What is wrong with a header. pywebsocket: names are shown as Python shows a `str`, and what is wrong with a parameter
/// as the exception that it is.
fn explain(py: Python<'_>, error: ExtensionError) -> String {
    let of_parameter = |extension: &str, text: &str| {
        let (extension, text) = (quoted(py, extension), quoted(py, text));
        format!("Failed to parse parameter for {extension} (ExtensionParsingException({text}))")
    };
    match error {
        ExtensionError::NoParameterName { extension } => {
            of_parameter(&extension, "No valid parameter name found")
        }
        ExtensionError::NoParameterValue { extension, parameter } => {
            let parameter = quoted(py, &parameter);
            let text =
                format!("No valid parameter value found on the right-hand side of parameter {parameter}");
            of_parameter(&extension, &text)
        }
        ExtensionError::ExpectedComma { found } => {
            let found = quoted(py, &found.to_string());
            format!("Failed to parse Sec-WebSocket-Extensions header: Expected a comma but found {found}")
        }
        ExtensionError::Empty => "No valid extension entry found".to_owned(),
    }
}

/// An extension as it stands in a header; values that are no token are quoted.
#[pyfunction]
pub fn format_extension(extension: Bound<'_, PyAny>) -> PyResult<String> {
    let name = extension.call_method0("name")?.extract()?;
    let parameters = extension.call_method0("get_parameters")?.extract()?;
    Ok(header::format_extension(&header::Extension { name, parameters }))
}

/// Extensions as they stand in a header, with commas between.
#[pyfunction]
pub fn format_extensions(extension_list: Bound<'_, PyAny>) -> PyResult<String> {
    let formatted = extension_list.try_iter()?.map(|extension| format_extension(extension?));
    Ok(formatted.collect::<PyResult<Vec<_>>>()?.join(", "))
}
