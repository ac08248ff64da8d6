//! A way to the coordinator that can be turned to another one, as an address that moves.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const PIECE_BYTES: usize = 16 * 1024;

/// Ends with all its connections when it is dropped.
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    open: Mutex<Vec<Connection>>,
    unheard: AtomicU64,
    over: AtomicBool,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    is_cut: Arc<AtomicBool>,
}

impl Forwarder {
    pub fn to(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            open: Mutex::new(vec![]),
            unheard: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever cannot be connected is hung up on, and tries again.
                let _ = accepting.connect(client);
            }
        });
        Ok(Self { address, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every client off, and sends whoever comes to another place. The old place is
    /// not told: its connections stay open, and nobody hears what it says on them.
    pub fn turn_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in open.iter() {
            connection.is_cut.store(true, Ordering::SeqCst);
            let _ = connection.client.shutdown(Shutdown::Both);
        }
    }

    /// Bytes that were said to clients that had been cut off.
    pub fn unheard(&self) -> u64 {
        self.shared.unheard.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        let target = *self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let server = TcpStream::connect(target)?;
        let is_cut = Arc::new(AtomicBool::new(false));
        let connection = Connection {
            client: client.try_clone()?,
            server: server.try_clone()?,
            is_cut: is_cut.clone(),
        };
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        let client_cut = is_cut.clone();
        thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            if !client_cut.load(Ordering::SeqCst) {
                let _ = to_server.shutdown(Shutdown::Both);
            }
        });
        let shared = self.clone();
        thread::spawn(move || shared.carry_back(server, client, &is_cut));
        Ok(())
    }

    fn carry_back(&self, mut server: TcpStream, mut client: TcpStream, is_cut: &AtomicBool) {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(bytes) = server.read(&mut piece) {
            if bytes == 0 {
                break;
            }
            if is_cut.load(Ordering::SeqCst) {
                self.unheard.fetch_add(bytes as u64, Ordering::SeqCst);
            } else if client.write_all(&piece[..bytes]).is_err() && !is_cut.load(Ordering::SeqCst) {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in open.iter() {
            let _ = connection.client.shutdown(Shutdown::Both);
            let _ = connection.server.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}
