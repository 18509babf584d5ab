//! A Redis server of our own, and what it says of itself.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use portcullis::store::{RedisSettings, StoreSettings};

use crate::process;

/// Runs until it is dropped, with an append-only file as docs/decisions/0004-redis.md advises.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

/// Counters of the server at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedisUse {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Commands that it has carried out.
    pub(crate) commands: f64,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl RedisServer {
    /// On the measured core: where it is what is measured.
    pub(crate) fn start_measured() -> RedisServer {
        RedisServer::start(process::on_the_measured_core(Path::new("redis-server")))
    }

    /// Beside the clients: where the gateway is measured.
    pub(crate) fn start_beside() -> RedisServer {
        RedisServer::start(process::on_the_load_core(Path::new("redis-server")))
    }

    fn start(mut command: Command) -> RedisServer {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let child = command
            .current_dir(folder.path())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
            ])
            .args(["--auto-aof-rewrite-percentage", "0"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `apt-get install redis-server`");
        let server = RedisServer {
            child,
            port,
            _folder: folder,
        };
        let deadline = Instant::now() + PATIENCE;
        while server.connect().is_none() {
            assert!(Instant::now() < deadline, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// How a gateway reaches it.
    pub(crate) fn settings(&self) -> StoreSettings {
        StoreSettings::Redis(RedisSettings {
            timeout: Duration::from_secs(2),
            ..RedisSettings::at(format!("redis://127.0.0.1:{}/0", self.port))
        })
    }

    /// What it has used so far.
    pub(crate) fn used(&self) -> RedisUse {
        let mut connection = self.connect().expect("the server lives");
        // Its own account of its time has microseconds, the kernel's to us hundredths.
        let info: String = redis::cmd("INFO").query(&mut connection).expect("INFO");
        let value = |name: &str| -> f64 {
            let field = info.lines().find_map(|line| line.strip_prefix(name));
            field.and_then(|text| text.parse().ok()).expect("a number")
        };
        RedisUse {
            cpu: Duration::from_secs_f64(value("used_cpu_user:") + value("used_cpu_sys:")),
            commands: value("total_commands_processed:"),
        }
    }

    fn connect(&self) -> Option<redis::Connection> {
        let url = format!("redis://127.0.0.1:{}/0", self.port);
        let client = redis::Client::open(url).expect("a good URL");
        let mut connection = client.get_connection().ok()?;
        let answer: redis::RedisResult<String> = redis::cmd("PING").query(&mut connection);
        answer.is_ok().then_some(connection)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}
