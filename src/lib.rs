//! wshost: a WebSocket server that runs pywebsocket handlers (`*_wsh.py`) unchanged, with hot reload.
//!
//! # Layout
//!
//! - [`program`] – the program: command line → configuration → server → exit code
//! - [`embed`] – the same server inside somebody else's Python process
//! - [`check`] – `wshost check`: loads every handler and says what is wrong; [`scaffold`] – `wshost new`
//! - [`cli`] – the command line → [`config::Config`]
//! - [`deadline`] – times that people choose, kept small enough to count with
//! - [`config`] – plain data, each field with its default and why
//! - [`descriptors`] – numbers of descriptors that mean something: 0, 1, 2, and those that others pass
//! - [`error`] – what stops the start
//! - [`logging`] – `tracing`, in pywebsocket's line format; [`writer`] – writing without waiting
//! - [`children`] – the process groups of CGI scripts
//! - [`panics`] – a panic is one record of the log
//! - [`shutdown`] – signals and the end of the process
//! - [`server`] – async: listeners and a connection up to the hand-over to its handler
//! - [`status`] – the status page: JSON, Prometheus, and a page that shows it live
//! - [`http`] – request heads, error pages, files
//! - [`websocket`] – pure: handshake, header grammar, frames, messages, deflate, close codes
//! - [`handover`] – what goes from the server to a handler's thread
//! - [`handlers`] – which file serves which resource: registry, watcher, reload
//! - [`trace`] – `--trace`: the bytes of connections in a file; [`replay`] – `wshost replay`: the same again; `probe` – `wshost probe`
//! - [`patience`] – how long a peer is waited for that takes or sends nothing
//! - [`per_process`] – values of which a forked child has its own; [`forks`] – the list of them
//! - `platform` – what differs from one operating system to the next
//! - [`python_files`] – the files of `python/`, carried inside
//! - [`wire`] – a connection's bytes, for a thread that may wait for them
//! - [`threads`] – the threads of handlers, for the system; [`locks`] – locks beside Python
//! - [`bridge`] – the only module that names PyO3: interpreter, loader, handlers at work, the Python objects

pub mod bridge;
pub mod check;
mod children;
pub mod cli;
pub mod config;
pub mod deadline;
mod descriptors;
mod embed;
pub mod error;
pub mod forks;
pub mod handlers;
pub mod handover;
pub mod http;
pub mod locks;
pub mod logging;
pub mod panics;
mod patience;
pub mod per_process;
mod platform;
mod probe;
pub mod program;
pub mod python_files;
pub mod replay;
pub mod scaffold;
pub mod server;
pub mod shutdown;
mod status;
pub mod threads;
mod trace;
pub mod websocket;
pub mod wire;
pub mod writer;

use std::ffi::OsString;

use pyo3::IntoPyObjectExt as _;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::bridge::python::interpreter;
use crate::bridge::python::interruptible::interruptible;

/// Runs the command line `args` (the program's name first) and returns the exit code.
///
/// SIGINT is the server's while it runs. Must be called on the main thread.
#[pyfunction]
fn main(py: Python<'_>, args: Vec<OsString>) -> PyResult<u8> {
    let handler = interpreter::take_interrupt(py)?;
    // Python runs already: `--python` has nothing left to choose.
    let code = py.detach(|| {
        program::run(args, |python| match python {
            None => Ok(()),
            Some(_) => Err(error::StartError::Python(error::PythonError::RunsAlready)),
        })
    });
    if let Some(handler) = handler {
        py.import("signal")?.call_method1("signal", (libc::SIGINT, handler))?;
    }
    Ok(code)
}

/// Sees to it that the process ends in time, if a signal has asked for that: for those who have nothing left to do.
/// Python waits for threads that handlers have left, and never ends while one of them runs.
#[pyfunction]
fn exit_in_time() {
    shutdown::exit_in_time(0);
}

/// Reads the options in `args` (without the program's name) and the file of `--config`, and gives those of
/// pywebsocket under the names that its own parser has for them, with their types.
///
/// Like argparse, prints help and wrong usage and raises `SystemExit`.
#[pyfunction]
fn parse_options(py: Python<'_>, args: Vec<OsString>) -> PyResult<Bound<'_, PyDict>> {
    let args = std::iter::once("wshost".into()).chain(args).collect();
    // The file of `--config` may be one that cannot be read, such as a FIFO.
    let values = interruptible(py, || cli::reference_options(args))?.map_err(|error| {
        error.print();
        PySystemExit::new_err(error.exit_code())
    })?;
    let options = PyDict::new(py);
    for (name, value) in values {
        let value = match value {
            cli::Value::None => py.None().into_bound(py),
            cli::Value::Flag(flag) => flag.into_bound_py_any(py)?,
            cli::Value::Number(number) => number.into_bound_py_any(py)?,
            cli::Value::Text(text) => text.into_bound_py_any(py)?,
        };
        options.set_item(name, value)?;
    }
    Ok(options)
}

/// The native part of wshost. Its names are reached through `pywebsocket3` and `wshost`.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{exit_in_time, main, parse_options};
    #[pymodule_export]
    use crate::bridge::api::connection::Connection;
    #[pymodule_export]
    use crate::bridge::api::deflate_framer::DeflateFramer;
    #[pymodule_export]
    use crate::bridge::api::extension_parameters::{
        ExtensionParameter, format_extension, format_extensions, parse_extensions,
    };
    #[pymodule_export]
    use crate::bridge::api::extensions::{
        ExtensionProcessorInterface, PerMessageDeflateExtensionProcessor, get_extension_processor,
        parse_window_bits,
    };
    #[pymodule_export]
    use crate::bridge::api::frame_reading::parse_frame;
    #[pymodule_export]
    use crate::bridge::api::frames::{
        FragmentedFrameBuilder, Frame, create_binary_frame, create_close_frame,
        create_closing_handshake_body, create_header, create_length_header, create_ping_frame,
        create_pong_frame, create_text_frame,
    };
    #[pymodule_export]
    use crate::bridge::api::handshake::{Handshaker, HandshakerBase, do_handshake};
    #[pymodule_export]
    use crate::bridge::api::handshake_checks::{
        check_request_line, compute_accept, compute_accept_from_unicode, format_header, get_default_port,
        get_mandatory_header, parse_host_header, parse_token_list, validate_mandatory_header,
        validate_subprotocol,
    };
    #[pymodule_export]
    use crate::bridge::api::header_util::{
        ParsingState, consume, consume_lws, consume_lwses, consume_string, consume_token,
        consume_token_or_quoted_string, peek, quote_if_necessary,
    };
    #[pymodule_export]
    use crate::bridge::api::request::{Request, RequestHandler};
    #[pymodule_export]
    use crate::bridge::api::stream::Stream;
    #[pymodule_export]
    use crate::bridge::api::stream_options::StreamOptions;
    #[pymodule_export]
    use crate::bridge::api::util::{
        NoopMasker, PyDeflater, PyInflater, PyMessageDeflater, PyMessageInflater, RepeatedXorMasker, hexify,
        pack_byte,
    };
    #[pymodule_export]
    use crate::bridge::load::loader::source_handler_file;
    #[pymodule_export]
    use crate::bridge::load::suite::{HandlerSuite, default_passive_closing_handshake};
    #[pymodule_export]
    use crate::bridge::python::exceptions::prepend_message_to_exception;
    #[pymodule_export]
    use crate::bridge::python::logging::log_record;
    #[pymodule_export]
    use crate::bridge::run::connections::end_handlers;
    #[pymodule_export]
    use crate::bridge::run::dispatch::{Dispatcher, is_handler_name, read_map_file, resource_of};
    #[pymodule_export]
    use crate::embed::{Server, check_tls_options};

    /// Children that are forked from here on get what they need of their own.
    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        Ok(crate::forks::prepare()?)
    }

    /// The version of the package.
    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
