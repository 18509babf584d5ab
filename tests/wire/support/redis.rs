//! A real `redis-server` for one test, ended by its pid.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::eventually;

/// A running server.
pub struct RedisServer {
    pub port: u16,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

pub const PASSWORD: &str = "a-redis-password-for-tests";

impl RedisServer {
    /// With a password.
    pub fn start() -> RedisServer {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = RedisServer {
            port,
            child: None,
            folder,
        };
        server.launch();
        server
    }

    /// Starts the process; also again, on the same port and folder.
    pub fn launch(&mut self) {
        let child = Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--requirepass",
                PASSWORD,
            ])
            .arg("--dir")
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (scripts/test installs it)");
        self.child = Some(child);
        eventually("redis-server answers", || self.ping());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Stops the process without ending it: it hangs.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A copy of what it has on disk now.
    pub fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        copy_files(&self.data(), copy.path());
        copy
    }

    /// Puts a copy in the place of what it has, and starts again with that.
    pub fn restore(&mut self, copy: &tempfile::TempDir) {
        self.kill();
        std::fs::remove_dir_all(self.data()).expect("our own folder");
        std::fs::create_dir(self.data()).expect("our own folder");
        copy_files(copy.path(), &self.data());
        self.launch();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("appendonlydir")
    }

    /// Gives a command, as its operator could.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port);
        let client = redis::Client::open(url).expect("a good URL");
        let mut connection = client.get_connection().expect("it listens");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).expect("a good command")
    }

    /// How often it was given a command since it started or its statistics were reset.
    pub fn calls(&self, command: &str) -> usize {
        let stats: String = self.command(&["INFO", "commandstats"]);
        let begin = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&begin));
        let count = line.and_then(|rest| rest.split(',').next()?.parse().ok());
        count.unwrap_or(0)
    }

    /// Sets a field of a hash, without a word to anybody who follows the log.
    pub fn set_field(&self, hash: &str, field: &str, value: &str) {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        tcp.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
        let command = format!("AUTH {PASSWORD}\r\nHSET {hash} {field} {value}\r\n");
        tcp.write_all(command.as_bytes()).expect("it reads");
        let mut answer = [0; 9];
        tcp.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"+OK\r\n:1\r\n", "the field was not there before");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.expect("kill is there").success());
    }

    fn ping(&self) -> Option<()> {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        tcp.write_all(format!("AUTH {PASSWORD}\r\nPING\r\n").as_bytes())
            .ok()?;
        let mut answer = [0; 12];
        tcp.read_exact(&mut answer).ok()?;
        (&answer == b"+OK\r\n+PONG\r\n").then_some(())
    }

    /// Everything in it, as text: what a dump would show.
    pub fn dump(&self) -> String {
        let file = self.folder.path().join("appendonlydir");
        let mut text = String::new();
        for entry in std::fs::read_dir(file).expect("appendonly").flatten() {
            text.push_str(&String::from_utf8_lossy(
                &std::fs::read(entry.path()).expect("readable"),
            ));
        }
        text
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("appendonly").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.resume();
        }
        self.kill();
    }
}
