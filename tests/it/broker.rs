//! A real Apache Kafka broker, run from its jars with the machine's Java, data in a temporary directory.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a broker may take to answer.
const START_WAIT: Duration = Duration::from_secs(90);

/// A running broker; dropped means killed.
pub(crate) struct Broker {
    jars: PathBuf,
    child: Option<Child>,
    directory: tempfile::TempDir,
    pub(crate) address: String,
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl Broker {
    /// Starts a broker; none, with a loud message, where there is no Java or `.ci/run` did not bring the jars.
    pub(crate) fn start() -> Option<Broker> {
        Broker::start_with("message.max.bytes=8388608\n")
    }

    /// With further lines of its properties.
    pub(crate) fn start_with(more: &str) -> Option<Broker> {
        Broker::start_on(&[], more, &[])
    }

    /// With further listeners (protocol, port), and arguments of the tool that formats its storage.
    pub(crate) fn start_on(listeners: &[(&str, u16)], more: &str, format: &[&str]) -> Option<Broker> {
        let Some(jars) = std::env::var_os("MILLRACE_TEST_KAFKA").map(PathBuf::from) else {
            eprintln!("SKIPPED: Kafka not tested, because MILLRACE_TEST_KAFKA is not set; .ci/run fetches the broker");
            return None;
        };
        if !is_there("java") || !is_there("kcat") {
            eprintln!("SKIPPED: Kafka not tested, because java or kcat is missing; .ci/run installs kcat");
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (port, controller) = (free_port(), free_port());
        let data = directory.path().join("data");
        let further: String =
            listeners.iter().map(|(protocol, port)| format!(",{protocol}://127.0.0.1:{port}")).collect();
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{further}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{further}\ncontroller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=3\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=true\nnum.partitions=3\n{more}",
            data.display()
        );
        std::fs::write(directory.path().join("server.properties"), properties).expect("written");
        let mut broker = Broker { jars, child: None, directory, address: format!("127.0.0.1:{port}") };
        let formatting = [&["format", "-t", "bWlsbHJhY2UtdGVzdC0wMQ"], format, &["-c"]].concat();
        let formatted = broker.java("kafka.tools.StorageTool", &formatting);
        assert!(formatted.wait_with_output().expect("it ends").status.success(), "the broker's storage is formatted");
        broker.run();
        Some(broker)
    }

    fn java(&self, class: &str, arguments: &[&str]) -> Child {
        Command::new("java")
            .args(["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!("{}/*", self.jars.display()))
            .arg(class)
            .args(arguments)
            .arg(self.directory.path().join("server.properties"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("java starts")
    }

    fn run(&mut self) {
        self.child = Some(self.java("kafka.Kafka", &[]));
        let started = Instant::now();
        while started.elapsed() < START_WAIT {
            let asked = Command::new("kcat").args(["-b", &self.address, "-L", "-m", "2"]).output().expect("kcat runs");
            if asked.status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("the broker does not answer after {START_WAIT:?}");
    }

    /// Kills the broker and starts it again on the same data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.run();
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Produces lines, one a record, with kcat: a producer nobody here wrote. `arguments` are more of kcat's.
    pub(crate) fn produce(&self, topic: &str, lines: &str, arguments: &[&str]) {
        use std::io::Write;

        let mut kcat = Command::new("kcat")
            .args(["-P", "-b", &self.address, "-t", topic, "-X", "partitioner=murmur2_random"])
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("kcat starts");
        kcat.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("written");
        assert!(kcat.wait().expect("it ends").success(), "kcat produces");
    }

    /// Produces a file as one record.
    pub(crate) fn produce_file(&self, topic: &str, file: &str, arguments: &[&str]) {
        let produced =
            Command::new("kcat").args(["-P", "-b", &self.address, "-t", topic]).args(arguments).arg(file).status();
        assert!(produced.expect("kcat runs").success(), "kcat produces {file}");
    }

    /// Everything in a topic, formatted by kcat.
    pub(crate) fn consume(&self, topic: &str, format: &str) -> String {
        let read = Command::new("kcat")
            .args(["-C", "-b", &self.address, "-t", topic, "-e", "-q", "-f", format])
            .output()
            .expect("kcat runs");
        String::from_utf8_lossy(&read.stdout).into_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
