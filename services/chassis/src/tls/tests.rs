//! TLS over pipes, loopback and real files.

use std::path::Path;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::drain::Shutdown;
use crate::metrics::Registry;
use crate::testing::{Authority, Issued, capture_logs};

type Client = tokio_rustls::client::TlsStream<DuplexStream>;

/// Shakes hands over a pipe and passes one byte each way: in TLS 1.3 that is what proves that the server
/// has accepted the client's certificate, and what brings the client its session tickets.
async fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> std::io::Result<(Stream<DuplexStream>, Client)> {
    let (near, far) = tokio::io::duplex(1 << 14);
    let name = ServerName::try_from("svc.example").unwrap();
    let connect = async {
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        stream.read_u8().await?;
        std::io::Result::Ok(stream)
    };
    let accept = async {
        let mut stream = Stream::new(TlsAcceptor::from(server).accept(far).await?, None);
        stream.read_u8().await?;
        stream.write_all(b"y").await?;
        stream.flush().await?;
        std::io::Result::Ok(stream)
    };
    let (accepted, connected) = tokio::join!(accept, connect);
    Ok((accepted?, connected?))
}

fn serving(authority: &Authority) -> Identity {
    authority.server(&["svc.example"]).identity()
}

#[tokio::test]
async fn the_server_sees_the_clients_verified_certificate_and_alpn() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let auth = ClientAuth::Required(clients.roots().into());
    let server = server_config(serving(&servers), auth, &[ALPN_H2, ALPN_HTTP1]);
    let identity = clients.client("jane", &["dev"]).identity();
    let client = client_config(
        servers.roots(),
        Some(identity.clone().into()),
        &[ALPN_HTTP1],
    );
    let (stream, _client) = handshake(server, client).await.unwrap();
    assert_eq!(stream.peer().leaf(), identity.chain().first());
    assert_eq!(stream.peer().alpn(), Some(ALPN_HTTP1));
    assert_eq!(stream.server_name(), Some("svc.example"));
}

#[tokio::test]
async fn client_certificates_are_judged_by_the_listeners_rule() {
    let authority = Authority::new("ours");
    let stranger = Authority::new("theirs");
    let roots = || Live::from(authority.roots());
    let ours = || Some(Live::from(authority.client("a", &[]).identity()));
    let theirs = || Some(Live::from(stranger.client("a", &[]).identity()));
    let cases = [
        (
            "required and ours",
            ClientAuth::Required(roots()),
            ours(),
            true,
        ),
        (
            "required and absent",
            ClientAuth::Required(roots()),
            None,
            false,
        ),
        (
            "required and foreign",
            ClientAuth::Required(roots()),
            theirs(),
            false,
        ),
        (
            "optional and absent",
            ClientAuth::Optional(roots()),
            None,
            true,
        ),
        (
            "optional and foreign",
            ClientAuth::Optional(roots()),
            theirs(),
            false,
        ),
        ("not asked", ClientAuth::None, theirs(), true),
    ];
    for (case, auth, identity, accepted) in cases {
        let server = server_config(serving(&authority), auth, &[]);
        let client = client_config(authority.roots(), identity, &[]);
        assert_eq!(handshake(server, client).await.is_ok(), accepted, "{case}");
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_of_another_authority_or_name() {
    let authority = Authority::new("ours");
    let stranger = server_config(serving(&Authority::new("ours")), ClientAuth::None, &[]);
    let client = client_config(authority.roots(), None, &[]);
    assert!(
        handshake(stranger, Arc::clone(&client)).await.is_err(),
        "same name, other key"
    );
    let misnamed = authority.server(&["other.example"]).identity();
    let misnamed = server_config(misnamed, ClientAuth::None, &[]);
    assert!(handshake(misnamed, client).await.is_err(), "other name");
}

#[tokio::test]
async fn one_configuration_follows_replaced_identities_and_roots() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (identity_publisher, identity) = Live::channel(serving(&old));
    let (roots_publisher, roots) = Live::channel(old.roots());
    let server = server_config(identity, ClientAuth::None, &[]);
    let client = client_config(roots, None, &[]);
    assert!(
        handshake(Arc::clone(&server), Arc::clone(&client))
            .await
            .is_ok()
    );
    identity_publisher.publish(serving(&new));
    assert!(
        handshake(Arc::clone(&server), Arc::clone(&client))
            .await
            .is_err()
    );
    roots_publisher.publish(new.roots());
    assert!(handshake(server, client).await.is_ok());
}

#[tokio::test]
async fn a_client_whose_authority_was_removed_cannot_come_back_by_resumption() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (publisher, trusted) = Live::channel(clients.roots());
    let server = server_config(serving(&servers), ClientAuth::Required(trusted), &[]);
    let identity = clients.client("jane", &[]).identity();
    // A client that would resume, unlike ours.
    let mut client =
        ClientConfig::clone(&client_config(servers.roots(), Some(identity.into()), &[]));
    client.resumption = rustls::client::Resumption::default();
    let client = Arc::new(client);
    handshake(Arc::clone(&server), Arc::clone(&client))
        .await
        .unwrap();
    publisher.publish(Authority::new("successor").roots());
    assert!(handshake(server, client).await.is_err());
}

#[test]
fn bundles_that_cannot_be_used_are_refused_with_the_reason() {
    let authority = Authority::new("ca");
    let Issued { certificate, key } = authority.client("a", &[]);
    let other = authority.client("b", &[]);
    let from = |chain: &str, key: &str| Identity::from_pem(chain.as_bytes(), key.as_bytes());
    assert!(matches!(from(&certificate, &other.key), Err(Error::Key(_))));
    assert!(matches!(from("", &key), Err(Error::NoCertificate)));
    assert!(matches!(from(&certificate, ""), Err(Error::NoKey)));
    let half = &certificate[..certificate.len() / 2];
    assert!(matches!(
        from(half, &key),
        Err(Error::Malformed { .. } | Error::NoCertificate)
    ));
    assert!(matches!(
        Roots::from_pem(b"text"),
        Err(Error::NoCertificate)
    ));
}

#[test]
fn an_identity_never_shows_its_key() {
    let issued = Authority::new("ca").client("a", &[]);
    let shown = format!("{:?}", issued.identity());
    assert!(
        shown.starts_with("Identity { certificates: 1, not_after: Some("),
        "{shown}"
    );
}

#[test]
fn roots_tell_whose_client_it_is() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let client = ours.client("jane", &[]).identity();
    let now = jiff::Timestamp::now();
    assert!(ours.roots().verify_client(client.chain(), now).is_ok());
    assert!(theirs.roots().verify_client(client.chain(), now).is_err());
    assert!(ours.roots().verify_client(&[], now).is_err());
    let server = ours.server(&["svc.example"]).identity();
    assert!(
        ours.roots().verify_client(server.chain(), now).is_err(),
        "no client usage"
    );
}

fn write(folder: &Path, issued: &Issued) {
    std::fs::write(folder.join("tls.crt"), &issued.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &issued.key).unwrap();
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_picked_up_and_broken_ones_are_not() {
    let (logs, _guard) = capture_logs();
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let authority = Authority::new("ca");
    let (first, second) = (authority.server(&["a"]), authority.server(&["b"]));
    write(folder.path(), &first);

    let shutdown = Shutdown::new();
    let mut registry = Registry::new("test", "0");
    let metrics = Metrics::register(&mut registry);
    let reloader = Reloader::new(&shutdown, &metrics);
    let mut live = reloader.identity(chain, key).await.unwrap();
    assert_eq!(live.current().chain(), first.identity().chain());

    // Half of a rotation: the new certificate with the old key.
    std::fs::write(folder.path().join("tls.crt"), &second.certificate).unwrap();
    let changed = tokio::time::timeout(Duration::from_secs(30), live.changed()).await;
    assert!(changed.is_err(), "a mismatched pair must not be used");
    assert!(
        logs.text()
            .contains("changed certificates are broken, old ones are kept")
    );
    assert!(
        registry.encode().contains("result=\"Kept\""),
        "{}",
        registry.encode()
    );

    std::fs::write(folder.path().join("tls.key"), &second.key).unwrap();
    live.changed().await;
    assert_eq!(live.current().chain(), second.identity().chain());

    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    let changed = tokio::time::timeout(Duration::from_secs(30), live.changed()).await;
    assert!(changed.is_err(), "a missing file must not be used");
    shutdown.drained(Duration::from_secs(1)).await.unwrap();
}

#[tokio::test]
async fn files_that_are_broken_at_the_start_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let reloader = Reloader::new(&Shutdown::new(), &Metrics::default());
    let absent = reloader.roots(folder.path().join("absent")).await;
    assert!(matches!(absent, Err(LoadError::Read { .. })));
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(
        reloader.roots(empty).await,
        Err(LoadError::Content { .. })
    ));
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_and_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.crt");
    let padding = "#\n".repeat(1 << 20);
    let text = Authority::new("kept").pem() + &padding + &Authority::new("lost").pem();
    std::fs::write(&bundle, text).unwrap();
    let reloader = Reloader::new(&Shutdown::new(), &Metrics::default());
    assert!(matches!(
        reloader.roots(bundle).await,
        Err(LoadError::Read { .. })
    ));
}

struct Listening {
    incoming: Incoming,
    address: std::net::SocketAddr,
    authority: Authority,
    shutdown: Shutdown,
}

async fn listen(options: AcceptOptions) -> Listening {
    let authority = Authority::new("ca");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = authority.server(&["127.0.0.1"]).identity();
    let config = server_config(identity, ClientAuth::None, &[]);
    let shutdown = Shutdown::new();
    let incoming = accept(listener, config, options, &Metrics::default(), &shutdown);
    Listening {
        incoming,
        address,
        authority,
        shutdown,
    }
}

impl Listening {
    async fn connect(&self) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let config = client_config(self.authority.roots(), None, &[]);
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(config).connect(name, stream).await
    }
}

#[tokio::test]
async fn a_silent_client_does_not_hold_up_the_next_one() {
    let mut listening = listen(AcceptOptions::default()).await;
    let _silent = TcpStream::connect(listening.address).await.unwrap();
    let _client = listening.connect().await.unwrap();
    let stream = listening.incoming.next().await.unwrap();
    assert!(stream.peer().remote_addr().is_some());
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_frees_its_slot() {
    let options = AcceptOptions {
        handshake_timeout: Duration::from_millis(50),
        max_handshakes: 1,
        ..AcceptOptions::default()
    };
    let mut listening = listen(options).await;
    let mut silent = TcpStream::connect(listening.address).await.unwrap();
    assert_eq!(
        silent.read(&mut [0]).await.unwrap(),
        0,
        "the silent client is cut off"
    );
    let _client = listening.connect().await.unwrap();
    assert!(listening.incoming.next().await.is_some());
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_dropped() {
    let mut listening = listen(AcceptOptions::default()).await;
    let mut plain = TcpStream::connect(listening.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _client = listening.connect().await.unwrap();
    assert!(listening.incoming.next().await.is_some());
}

#[tokio::test]
async fn a_silent_client_does_not_hold_up_the_drain() {
    let options = AcceptOptions {
        handshake_timeout: Duration::from_hours(1),
        ..AcceptOptions::default()
    };
    let mut listening = listen(options).await;
    let _silent = TcpStream::connect(listening.address).await.unwrap();
    // The one that comes after it is there, so the silent one's handshake has begun.
    let _client = listening.connect().await.unwrap();
    listening.incoming.next().await.unwrap();
    let drained = listening.shutdown.drained(Duration::from_secs(5)).await;
    assert_eq!(drained, Ok(()));
}

#[tokio::test]
async fn shutdown_closes_the_listener_and_ends_the_stream() {
    let mut listening = listen(AcceptOptions::default()).await;
    listening.shutdown.begin("test");
    assert!(listening.incoming.next().await.is_none());
    listening
        .shutdown
        .drained(Duration::from_secs(5))
        .await
        .unwrap();
    assert!(TcpStream::connect(listening.address).await.is_err());
}
