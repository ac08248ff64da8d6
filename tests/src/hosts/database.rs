//! A database that hosts talk to, and that no power cut of theirs makes forget: for each
//! version it knows whether that one's migration is applied, and all that was ever asked.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub struct Database {
    address: SocketAddr,
    state: Arc<State>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    book: Mutex<Book>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Book {
    applied: BTreeSet<String>,
    /// `up v1.2.0`, as it came.
    asked: Vec<String>,
}

impl Database {
    pub fn listen(address: Ipv4Addr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let serving = state.clone();
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.is_over.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever was cut off in the middle has asked for nothing.
                let _gone = serving.answer(stream);
            }
        });
        Ok(Self {
            address,
            state,
            serving: Some(serving),
        })
    }

    /// A program that asks it, as `database up`: it ends with 0 for yes, with 1 for no.
    pub fn client(&self, version: &str) -> String {
        format!(
            "#!/bin/sh\nsaid=$(curl --silent --output /dev/null --max-time 10 --write-out '%{{http_code}}' \
             \"http://{}/$1/{version}\")\ncase $said in 200) exit 0 ;; 404) exit 1 ;; *) exit 3 ;; esac\n",
            self.address
        )
    }

    pub fn is_applied(&self, version: &str) -> bool {
        let book = self.state.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.applied.contains(version)
    }

    /// How often it was asked to do so, for the version.
    pub fn count(&self, act: &str, version: &str) -> usize {
        let wanted = format!("{act} {version}");
        let book = self.state.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.asked.iter().filter(|asked| **asked == wanted).count()
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        let mut words = line.split(['/', ' ']).filter(|word| !word.is_empty()).skip(1);
        let (Some(act), Some(version)) = (words.next(), words.next()) else {
            return Ok(());
        };
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.asked.push(format!("{act} {version}"));
        let is_yes = match act {
            "up" => book.applied.insert(version.to_owned()),
            "down" => book.applied.remove(version),
            "backup" => true,
            _ => book.applied.contains(version),
        };
        let status = if is_yes { "200 Yes" } else { "404 No" };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        let _wakes_it = TcpStream::connect(self.address);
        let _ended = self.serving.take().map(JoinHandle::join);
    }
}
