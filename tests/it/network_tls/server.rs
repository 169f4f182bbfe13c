//! Servers for the tests of TLS: one that answers over TLS, and a proxy.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::Acceptor;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

/// Who signs the certificates of these servers.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's certificate for a name or an address, which expires with this year.
    pub(crate) fn certify(&self, name: &str, last_year: i32) -> Arc<ServerConfig> {
        self.certify_from(1975, name, last_year)
    }

    /// The same, which is valid from the beginning of another year on.
    pub(crate) fn certify_from(&self, first: i32, name: &str, last: i32) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(first, 1, 1);
        params.not_after = rcgen::date_time_ymd(last, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Self::serve(certificate.der(), &key)
    }

    /// The authority's own certificate as a server's.
    pub(crate) fn as_server(&self) -> Arc<ServerConfig> {
        Self::serve(self.0.der(), self.0.key())
    }

    fn serve(certificate: &CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the usual versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .expect("the key of the certificate");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// What a server got to see.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Sight>>);

#[derive(Default)]
pub(crate) struct Sight {
    /// How many connections were made.
    pub(crate) connections: usize,
    /// The protocols that the client offered, of the last connection.
    pub(crate) offered: Vec<String>,
    /// The name that the client asked for, of the last connection.
    pub(crate) name: Option<String>,
    /// How many handshakes were finished.
    pub(crate) handshakes: usize,
    /// All that the server could read of what it was sent.
    pub(crate) read: Vec<u8>,
}

impl Seen {
    pub(crate) fn now(&self) -> MutexGuard<'_, Sight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that could be read, as a text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.now().read).into_owned()
    }
}

/// A server that answers every request with an empty list. It ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
}

impl Server {
    pub(crate) async fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let seen = Seen::default();
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&config), shared.clone()));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/v1", self.address)
    }
}

/// Serves a connection until either side ends it.
async fn serve(stream: TcpStream, config: Arc<ServerConfig>, seen: Seen) {
    seen.now().connections += 1;
    // What comes before there is a key can be read by everybody on the way.
    let mut first = vec![0; 16 * 1024];
    let Ok(size) = stream.peek(&mut first).await else { return };
    seen.now().read.extend_from_slice(&first[..size]);
    let Ok(start) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else { return };
    {
        let hello = start.client_hello();
        let offered = hello.alpn().into_iter().flatten();
        let offered = offered.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let mut seen = seen.now();
        seen.offered = offered;
        seen.name = hello.server_name().map(str::to_owned);
    }
    let Ok(mut stream) = start.into_stream(config).await else { return };
    seen.now().handshakes += 1;
    while read_head(&mut stream, &seen).await.is_some() {
        let body = "{\"results\": [], \"cursor\": null}";
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads the head of a request; `None` at the end.
async fn read_head(stream: &mut (impl AsyncRead + Unpin), seen: &Seen) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.ok()?;
        head.push(byte);
        seen.now().read.push(byte);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// What a proxy does when it is asked to connect.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// It connects to one address, whichever it is asked for.
    To(SocketAddr),
    /// It answers with this line, and ends the connection.
    Refuse(&'static str),
}

/// A proxy that connects to one address, whichever it is asked for.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
}

impl Proxy {
    /// Without an address it wants a password of everybody.
    pub(crate) async fn start(target: Option<SocketAddr>) -> Self {
        Self::start_over(None, target).await
    }

    /// One that refuses everybody with this line.
    pub(crate) async fn refusing(line: &'static str) -> Self {
        Self::start_with(None, Manner::Refuse(line)).await
    }

    /// One that is itself spoken to over TLS, where it has a certificate.
    pub(crate) async fn start_over(
        tls: Option<Arc<ServerConfig>>,
        target: Option<SocketAddr>,
    ) -> Self {
        let refusal = Manner::Refuse("HTTP/1.1 407 Proxy Authentication Required");
        Self::start_with(tls, target.map_or(refusal, Manner::To)).await
    }

    async fn start_with(tls: Option<Arc<ServerConfig>>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let seen = Seen::default();
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, shared) = (tls.clone(), shared.clone());
                tokio::spawn(async move {
                    shared.now().connections += 1;
                    match tls {
                        None => pass_on(stream, manner, shared).await,
                        Some(tls) => {
                            let stream = TlsAcceptor::from(tls).accept(stream).await.ok()?;
                            pass_on(stream, manner, shared).await
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }
}

async fn pass_on(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    manner: Manner,
    seen: Seen,
) -> Option<()> {
    read_head(&mut client, &seen).await?;
    let target = match manner {
        Manner::To(target) => target,
        Manner::Refuse(line) => {
            let refusal = format!("{line}\r\ncontent-length: 0\r\n\r\n");
            return client.write_all(refusal.as_bytes()).await.ok();
        }
    };
    let mut server = TcpStream::connect(target).await.ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut piece = vec![0; 16 * 1024];
        loop {
            let size = from_client.read(&mut piece).await.ok().filter(|size| *size > 0)?;
            seen.now().read.extend_from_slice(&piece[..size]);
            to_server.write_all(&piece[..size]).await.ok()?;
        }
    };
    // Where either side ends it, it is over.
    tokio::select! {
        over = up => over,
        copied = tokio::io::copy(&mut from_server, &mut to_client) => copied.ok().map(drop),
    }
}

/// A way to a server that passes nothing on before it is opened.
pub(crate) struct Barrier {
    pub(crate) address: SocketAddr,
    arrived: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Barrier {
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (arrived, opened) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (arrive, open) = (Arc::clone(&arrived), Arc::clone(&opened));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (arrive, open) = (Arc::clone(&arrive), Arc::clone(&open));
                tokio::spawn(async move {
                    arrive.add_permits(1);
                    drop(open.acquire().await);
                    let mut server = TcpStream::connect(target).await.ok()?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()
                });
            }
        });
        Self { address, arrived, opened }
    }

    /// Waits for a client to connect.
    pub(crate) async fn arrived(&self) {
        self.arrived.acquire().await.expect("never closed").forget();
    }

    /// Passes everything on.
    pub(crate) fn open(&self) {
        self.opened.add_permits(1);
    }
}
