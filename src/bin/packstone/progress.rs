//! Progress: a bar on a terminal, a line a second off it, `status` lines in JSON.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use packstone::progress::{Event, Observer};
use serde_json::json;

use crate::args::Global;
use crate::output::{Output, grouped};
use crate::{period, size};

/// Whether a run's JSON may hold `status` lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// JSON lines.
    Lines,
    /// One JSON document: nothing else may stand beside it.
    Hidden,
}

/// Shows what a run tells.
pub struct Progress {
    output: Arc<Output>,
    show: Show,
    every: Duration,
    state: Mutex<State>,
}

enum Show {
    Nothing,
    Bar(ProgressBar),
    Lines,
    Json,
}

struct State {
    started: Instant,
    last: Instant,
    stage: String,
    total: Option<u64>,
    done: u64,
    problems: u64,
}

impl Progress {
    /// From now on.
    pub fn start(global: &Global, output: Arc<Output>, status: Status) -> Arc<Self> {
        let terminal = std::io::stderr().is_terminal();
        let fps = global.progress_fps.unwrap_or(if terminal && !global.json { 10.0 } else { 1.0 });
        let show = match (global.json, terminal) {
            _ if global.quiet || global.no_progress || fps <= 0.0 => Show::Nothing,
            (true, _) if status == Status::Lines => Show::Json,
            (true, _) => Show::Nothing,
            (false, true) => Show::Bar(bar(fps)),
            (false, false) => Show::Lines,
        };
        let every = if fps > 0.0 { Duration::from_secs_f64(1.0 / fps) } else { Duration::MAX };
        let now = Instant::now();
        let state = State { started: now, last: now, stage: String::new(), total: None, done: 0, problems: 0 };
        Arc::new(Self { output, show, every, state: Mutex::new(state) })
    }

    /// Clears the bar and returns how many problems there were.
    pub fn finish(&self) -> u64 {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
        self.lock().problems
    }

    fn stage(&self, name: &str, total: Option<u64>) {
        let mut state = self.lock();
        name.clone_into(&mut state.stage);
        state.total = total;
        state.done = 0;
        if let Show::Bar(bar) = &self.show {
            bar.reset();
            match total {
                Some(total) => bar.set_length(total),
                None => bar.unset_length(),
            }
            bar.set_style(style(total.is_some()));
            bar.set_message(name.to_owned());
        }
    }

    fn tick(&self, done: u64, bytes: Option<u64>) {
        let mut state = self.lock();
        state.done = done;
        if let Show::Bar(bar) = &self.show {
            bar.set_position(done);
            if let Some(bytes) = bytes {
                bar.set_message(format!("{}: {}, files", state.stage, size::show(bytes)));
            }
            return;
        }
        if state.last.elapsed() < self.every {
            return;
        }
        state.last = Instant::now();
        let elapsed = state.started.elapsed();
        match &self.show {
            Show::Lines => {
                let of = state.total.map(|total| format!(" of {}", grouped(total))).unwrap_or_default();
                let time = period::show(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
                let files = bytes.map(|bytes| format!(" files, {}", size::show(bytes))).unwrap_or_default();
                Output::standard_error(&format!("[{time}] {}: {}{of}{files}", state.stage, grouped(done)));
            }
            Show::Json => {
                let mut status = json!({
                    "message_type": "status",
                    "stage": state.stage,
                    "seconds_elapsed": elapsed.as_secs(),
                    "done": done,
                    "error_count": state.problems,
                });
                if let Some(bytes) = bytes {
                    status["files_done"] = json!(done);
                    status["bytes_done"] = json!(bytes);
                }
                if let Some(total) = state.total.filter(|total| *total > 0) {
                    status["total"] = json!(total);
                    status["percent_done"] = json!(done as f64 / total as f64);
                }
                // A reader that has gone shows when the result is printed.
                let _ = self.output.json(&status);
            }
            Show::Nothing | Show::Bar(_) => {}
        }
    }

    /// Prints without tearing the bar.
    fn aside(&self, print: impl FnOnce()) {
        match &self.show {
            Show::Bar(bar) => bar.suspend(print),
            _ => print(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Stage { name, total } => self.stage(name, total),
            Event::Progress { done } => self.tick(done, None),
            Event::Files { files, bytes } => self.tick(files, Some(bytes)),
            Event::Note(text) => self.aside(|| self.output.note(text)),
            Event::Problem { object, message } => {
                self.lock().problems += 1;
                self.aside(|| self.output.problem(object, message));
            }
            _ => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

fn bar(fps: f64) -> ProgressBar {
    let rate = (fps.ceil() as u8).max(1);
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(rate));
    bar.set_style(style(false));
    bar.set_message("starting");
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn style(counted: bool) -> ProgressStyle {
    let template = if counted {
        "[{elapsed}] {msg} {wide_bar} {human_pos}/{human_len} {eta}"
    } else {
        "[{elapsed}] {spinner} {msg} {human_pos} ({per_sec})"
    };
    ProgressStyle::with_template(template).expect("the template is well-formed")
}
