//! Stands between a client and a server and breaks connections.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Default)]
struct State {
    open: Mutex<Vec<TcpStream>>,
    is_down: AtomicBool,
    /// Bytes that still come back before every connection breaks.
    left: Mutex<Option<usize>>,
    accepted: AtomicU64,
}

/// A way to a server.
pub struct Proxy {
    pub address: String,
    state: Arc<State>,
}

impl Proxy {
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let (server, shared) = (server.to_owned(), Arc::clone(&state));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_down.load(Ordering::SeqCst) {
                    continue;
                }
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let Ok(behind) = TcpStream::connect(&server) else { continue };
                shared.open.lock().unwrap().extend([client.try_clone().unwrap(), behind.try_clone().unwrap()]);
                let (from, to) = (client.try_clone().unwrap(), behind.try_clone().unwrap());
                thread::spawn(move || carry(from, to, None));
                let shared = Arc::clone(&shared);
                thread::spawn(move || carry(behind, client, Some(&shared)));
            }
        });
        Self { address, state }
    }

    /// Breaks every connection once so many bytes have come back, in the middle of an answer.
    pub fn break_after(&self, bytes: usize) {
        *self.state.left.lock().unwrap() = Some(bytes);
    }

    /// Breaks every connection, and takes no new one while it is down.
    pub fn set_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, Ordering::SeqCst);
        if is_down {
            self.state.break_all();
        }
    }

    /// Whether the break has come.
    pub fn has_broken(&self) -> bool {
        self.state.left.lock().unwrap().is_none()
    }

    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

impl State {
    fn break_all(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: Option<&State>) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let breaks = state.is_some_and(|state| {
            let mut left = state.left.lock().unwrap();
            match *left {
                Some(bytes) if bytes < len => {
                    *left = None;
                    true
                }
                Some(bytes) => {
                    *left = Some(bytes - len);
                    false
                }
                None => false,
            }
        });
        if to.write_all(&buffer[..if breaks { len / 2 } else { len }]).is_err() {
            break;
        }
        if let (true, Some(state)) = (breaks, state) {
            state.break_all();
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
