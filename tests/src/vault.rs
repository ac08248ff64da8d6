//! A small Vault: reads of its second store of keys and values, and logins by AppRole. It can
//! be slow, or go away.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};

#[derive(Default)]
struct State {
    /// By path and field.
    secrets: BTreeMap<(String, String), String>,
    /// Who may read.
    tokens: Vec<String>,
    /// (role_id, secret_id), and whom that makes.
    role: Option<(String, String, String)>,
    is_slow: bool,
    is_gone: bool,
    reads: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Vault {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

impl Vault {
    /// On loopback, where plain HTTP is spoken.
    pub fn start(token: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let shared = Arc::new(Shared::default());
        shared.lock().tokens.push(token.to_owned());
        let (address, serving) = (listener.local_addr()?, shared.clone());
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.lock().is_gone {
                    return;
                }
                let shared = serving.clone();
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Ok(Self {
            address,
            shared,
            serving: Some(serving),
        })
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn put(&self, path: &str, field: &str, value: &str) {
        let key = (path.to_owned(), field.to_owned());
        self.shared.lock().secrets.insert(key, value.to_owned());
    }

    pub fn allow_role(&self, role_id: &str, secret_id: &str, token: &str) {
        let mut state = self.shared.lock();
        state.role = Some((role_id.to_owned(), secret_id.to_owned(), token.to_owned()));
        state.tokens.push(token.to_owned());
    }

    /// It answers nobody until it is quick again.
    pub fn be_slow(&self, is_slow: bool) {
        self.shared.lock().is_slow = is_slow;
        self.shared.changed.notify_all();
    }

    pub fn reads(&self) -> usize {
        self.shared.lock().reads
    }

    /// Nobody listens there any more.
    pub fn go_away(&mut self) {
        self.shared.lock().is_gone = true;
        self.shared.changed.notify_all();
        let _wakes_it = TcpStream::connect(self.address);
        if let Some(serving) = self.serving.take() {
            let _ended = serving.join();
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.go_away();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let mut state = shared.lock();
    while state.is_slow && !state.is_gone {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    drop(state);
    let _gone = answer(shared, stream);
}

fn answer(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let of = |line: &String| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        head.iter().find_map(of)
    };
    let length = header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request: Vec<&str> = head
        .first()
        .map(|line| line.split(' ').collect())
        .unwrap_or_default();
    let (status, said) = match request.as_slice() {
        ["GET", target, ..] => read(&mut shared.lock(), target, header("x-vault-token").as_deref()),
        ["POST", "/v1/auth/approle/login", ..] => log_in(&shared.lock(), &body),
        _ => (405, json!({"errors": ["unsupported operation"]})),
    };
    let said = said.to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
        said.len()
    )
}

fn read(state: &mut State, target: &str, token: Option<&str>) -> (u16, Value) {
    state.reads += 1;
    if !token.is_some_and(|token| state.tokens.iter().any(|known| known == token)) {
        return (403, json!({"errors": ["permission denied"]}));
    }
    let path = target.strip_prefix("/v1/secret/data/").unwrap_or_default();
    let of_it = state.secrets.iter().filter(|((known, _), _)| known == path);
    let fields: serde_json::Map<String, Value> = of_it
        .map(|((_, field), value)| (field.clone(), json!(value)))
        .collect();
    if fields.is_empty() {
        return (404, json!({"errors": []}));
    }
    (200, json!({"data": {"data": fields, "metadata": {"version": 1}}}))
}

fn log_in(state: &State, body: &[u8]) -> (u16, Value) {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    match &state.role {
        Some((role, secret, token)) if said["role_id"] == **role && said["secret_id"] == **secret => {
            (200, json!({"auth": {"client_token": token}}))
        }
        _ => (400, json!({"errors": ["invalid role or secret ID"]})),
    }
}
