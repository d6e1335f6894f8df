//! The program: from the command line to the exit code. The binary and the wheel's console script run the
//! same; they differ in who starts Python.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::bridge::load::loader::PythonLoader;
use crate::bridge::python;
use crate::bridge::python::interpreter;
use crate::bridge::run::host::PythonHost;
use crate::cli::{self, Invocation, Options};
use crate::error::StartError;
use crate::handlers::{self, MainThread, Monitor, Registry};
use crate::server::ReadyDescriptor;
use crate::status::Status;
use crate::wire::limits::Limits;
use crate::{check, descriptors, logging, panics, probe, python_files, replay, scaffold, server, shutdown};

/// Runs the command line `args` and gives the exit code: 0, 1 for an error, 2 for wrong usage.
///
/// `start_python` is called once with the value of `--python`, before anything needs Python. The calling thread
/// must be detached from Python.
pub fn run(args: Vec<OsString>, start_python: impl FnOnce(Option<&Path>) -> Result<(), StartError>) -> u8 {
    descriptors::keep_standard();
    panics::log();
    let invocation = match cli::parse(args) {
        Ok(invocation) => invocation,
        Err(error) => {
            error.print();
            return error.exit_code();
        }
    };
    let python = invocation.python().map(Path::to_owned);
    // Whether all was well, for commands that find that out.
    let result = match invocation {
        Invocation::Print(text) => {
            // A reader that has seen enough is no failure.
            let _ = io::stdout().write_all(&text);
            Ok(true)
        }
        Invocation::Vendor(directory) => python_files::vendor(&directory).map(|()| true),
        Invocation::New { resource, directory } => scaffold::write(&resource, &directory).map(|()| true),
        Invocation::Check(check) => start_python(python.as_deref()).and_then(|()| check::run(check)),
        Invocation::Replay(options) => replay::run(options),
        Invocation::Probe(options) => probe::run(&options),
        Invocation::Version { .. } => start_python(python.as_deref()).and_then(|()| {
            println!("wshost {}\n{}", env!("CARGO_PKG_VERSION"), interpreter::description()?);
            Ok(true)
        }),
        Invocation::Serve(options) => {
            // First of all: what is open now was passed to us.
            take_descriptors(&options).and_then(|ready| {
                start_python(python.as_deref())?;
                serve(options, ready).map(|()| true)
            })
        }
    };
    let code = match result {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            logging::tell(&format!("wshost: {error}"));
            1
        }
    };
    logging::flush(logging::FLUSH_TIME);
    code
}

/// Takes the descriptors that `options` name, if they can be used.
fn take_descriptors(options: &Options) -> Result<Option<ReadyDescriptor>, StartError> {
    server::check_passed(&options.listening_descriptors())?;
    ReadyDescriptor::take(options.server.ready_fd)
}

/// Serves until a signal.
fn serve(options: Options, ready: Option<ReadyDescriptor>) -> Result<(), StartError> {
    let config = Arc::new(options.resolve()?);
    cli::enter_document_root(&config)?;
    logging::init(&config.log)?;
    if config.status.is_some() {
        logging::tail::keep();
    }
    python::logging::forward_to_log(&config.log)?;
    let limits = Limits::new(config.max_message_size, config.max_total_message_size);
    limits.hold_for_others();
    // Before the handlers: an address that is taken is reported at once.
    let listeners = server::Listeners::bind(&config.listen)?;
    let loader = PythonLoader::new(config.handlers.encoding.clone())?;
    let registry = Arc::new(Registry::open(&config.handlers, loader)?);
    registry.snapshot().log_problems();
    let main = Arc::new(MainThread::default());
    registry.load_on(Arc::clone(&main));
    let watcher = if config.handlers.reload {
        Some(handlers::watch(Arc::clone(&registry), &config.handlers)?)
    } else {
        None
    };
    let refreshed = Arc::clone(&registry);
    let on_hangup = move || refreshed.refresh().log(&refreshed.snapshot());
    let host = Arc::new(PythonHost::new(registry, limits).pinging(config.ping));
    if let Some(interval) = config.thread_monitor {
        host.monitor_threads(interval).map_err(StartError::Runtime)?;
    }
    let monitor: Arc<dyn Monitor> = host.clone();
    let status = Status::bind(&config, monitor)?;
    serve_beside(&main, move || {
        let result = server::serve(config, listeners, host, on_hangup, status, ready);
        drop(watcher);
        result
    })
}

/// How long the end of the server waits for a load on the main thread.
const LOAD_GRACE: Duration = Duration::from_millis(500);

/// Runs `serve` on a thread of its own, while `main`, which is the thread that calls, loads handler files.
fn serve_beside(
    main: &Arc<MainThread>,
    serve: impl FnOnce() -> Result<(), StartError> + Send + 'static,
) -> Result<(), StartError> {
    let ended = Arc::clone(main);
    let begin = move || {
        // A panic has been reported by the panic hook.
        let result = panic::catch_unwind(AssertUnwindSafe(serve));
        if !ended.end(LOAD_GRACE) {
            tracing::warn!("A handler file is still being loaded on the main thread; ending without it");
            logging::flush(logging::FLUSH_TIME);
            shutdown::exit_at_once(i32::from(!matches!(result, Ok(Ok(())))));
        }
        result
    };
    let thread =
        thread::Builder::new().name("wshost-serve".to_owned()).spawn(begin).map_err(StartError::Runtime)?;
    main.work();
    let panicked = || StartError::Runtime(io::Error::other("the thread that serves has panicked"));
    thread.join().ok().and_then(Result::ok).ok_or_else(panicked)?
}
