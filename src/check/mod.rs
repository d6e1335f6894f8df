//! `wshost check`: loads every handler as the server would, and reports what is wrong and what to do.
//!
//! - `progress` – how far the loading is; `report` – what people read

mod progress;
mod report;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::bridge::load::examine;
use crate::bridge::load::loader::PythonLoader;
use crate::bridge::python;
use crate::cli::{self, CheckOptions};
use crate::config::Config;
use crate::error::StartError;
use crate::handlers::{self, Loader, MainThread, Registry, Snapshot};
use crate::logging;
use progress::Progress;

/// Checks the handlers; `false`: one fails. With `--watch`, does not return.
pub fn run(check: CheckOptions) -> Result<bool, StartError> {
    let CheckOptions { options, json, watch, fix, write } = check;
    let config = options.resolve()?;
    cli::enter_document_root(&config)?;
    logging::init(&config.log)?;
    python::logging::forward_to_log(&config.log)?;
    examine::prepare()?;
    let loader = PythonLoader::new(config.handlers.encoding.clone())?;
    let progress = Progress::new(json);
    let opened = Registry::open_showing(&config.handlers, loader, |done, total| progress.show(done, total));
    progress.clear();
    let registry = Arc::new(opened?);
    if fix {
        return convert(&registry.snapshot(), &config, write);
    }
    if !watch {
        return report(&registry.snapshot(), &config, json);
    }
    let main = Arc::new(MainThread::default());
    registry.load_on(Arc::clone(&main));
    let _watcher = handlers::watch(Arc::clone(&registry), &config.handlers)?;
    let told = Arc::clone(&registry);
    let thread = thread::Builder::new().name("wshost-check".to_owned());
    let over = Arc::clone(&main);
    let begin = move || {
        let result = follow(&told, &config, json);
        // A load that goes on ends with the process.
        let _ = over.end(Duration::ZERO);
        result
    };
    let thread = thread.spawn(begin).map_err(StartError::Runtime)?;
    main.work();
    // A panic has been reported by the panic hook.
    thread.join().unwrap_or(Ok(false))
}

/// Reports again whenever something is published. Ends with an error only.
fn follow<L: Loader>(registry: &Registry<L>, config: &Config, json: bool) -> Result<bool, StartError> {
    let mut snapshot = registry.snapshot();
    loop {
        report(&snapshot, config, json)?;
        let next = snapshot.generation() + 1;
        snapshot = loop {
            if let Some(snapshot) = registry.wait_for_generation(next, Duration::from_secs(3600)) {
                break snapshot;
            }
        };
    }
}

/// Prints what there is to tell; `false`: a handler fails.
fn report<S>(snapshot: &Snapshot<S>, config: &Config, as_json: bool) -> Result<bool, StartError> {
    let mut handlers = Vec::new();
    for status in snapshot.status() {
        let mut told =
            examine::examine(&status.path, config.handlers.encoding.as_deref(), status.error.as_ref())?;
        if let Some(told) = told.as_object_mut() {
            told.insert("resource".to_owned(), json!(status.resource));
            told.insert("aliases".to_owned(), json!(status.aliases));
            told.insert("file".to_owned(), json!(status.path.to_string_lossy()));
            if let Some(since) = status.loading_since {
                told.insert(
                    "loading_seconds".to_owned(),
                    json!(since.elapsed().unwrap_or_default().as_secs()),
                );
            }
            told.insert("traceback".to_owned(), json!(status.error.and_then(|error| error.traceback)));
        }
        handlers.push(told);
    }
    let problems: Vec<String> = snapshot.map_problems().iter().map(ToString::to_string).collect();
    let failed = handlers.iter().filter(|told| told["state"] == "failed").count();
    let text = if as_json {
        let whole = json!({
            "root": config.handlers.root.to_string_lossy(),
            "handlers": handlers,
            "map_problems": problems,
            "failed": failed,
        });
        format!("{whole}\n")
    } else {
        let of_the_map = config.handlers.map_file.as_ref().map(|_| &problems[..]);
        report::table(&handlers, of_the_map, &config.handlers.root)
    };
    // A reader that has seen enough is no failure.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    Ok(failed == 0 && problems.is_empty())
}

/// Shows, and with `write` does, the conversion of files that are still Python 2; `false`: not done yet.
fn convert<S>(snapshot: &Snapshot<S>, config: &Config, write: bool) -> Result<bool, StartError> {
    let mut converted = 0;
    for status in snapshot.status() {
        let difference = examine::convert(&status.path, config.handlers.encoding.as_deref(), write)?;
        if let Some(difference) = difference {
            converted += 1;
            let _ = io::stdout().write_all(difference.as_bytes());
        }
    }
    let what = match (converted, write) {
        (0, _) => "no handler that is Python 2 and can be converted".to_owned(),
        (count, true) => format!("{count} converted and written"),
        (count, false) => format!("{count} to convert; --fix --write writes them"),
    };
    println!("{what}");
    Ok(converted == 0 || write)
}
