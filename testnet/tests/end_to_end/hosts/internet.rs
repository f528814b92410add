//! A small internet of network namespaces: hosts with addresses of their own, some behind a router, and one that
//! joins them all.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::binary;

/// Internets of this process so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The namespaces, for as long as this lives.
pub(crate) struct Internet {
    name: String,
    hosts: u8,
    namespaces: Vec<String>,
    names: String,
}

/// What stands between a host and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Addresses of its own, of both kinds.
    Open,
    /// IPv6 alone.
    SixOnly,
    /// As at home: a router that translates addresses of IPv4, and leads this port of both transports to it; and IPv6
    /// of its own.
    Forwarded(u16),
    /// The same with all ports from one to another.
    Led(u16, u16),
    /// A router that translates addresses, and leads to it what it asks for (UPnP).
    Asked,
    /// A router that translates addresses, and leads nothing to it.
    Closed,
}

/// One machine.
pub(crate) struct Host {
    namespace: String,
    /// The side of the line that the others see; of a router where there is one.
    outside: String,
    pub(crate) ip: String,
    home: TempDir,
}

impl Internet {
    /// One without hosts; none, with a message, where namespaces cannot be made. Where everything is to be tried
    /// (`CI=true`) that is a failure.
    pub(crate) fn new() -> Option<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut new = Self {
            name: format!("s{}x{number}", std::process::id()),
            hosts: 0,
            namespaces: Vec::new(),
            names: String::new(),
        };
        let made = run("nft", &["--version"]).and_then(|()| new.namespace("core").map(drop));
        if let Err(why) = made {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no network namespaces: {why}");
            eprintln!("skipped: network namespaces cannot be made here: {why}");
            return None;
        }
        for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            new.inside("core", &["sysctl", "-qw", setting]);
        }
        Some(new)
    }

    /// Gives a host a name, which all that are made from now on know.
    pub(crate) fn call(&mut self, host: &Host, name: &str) {
        let n = host.outside.trim_start_matches(|char: char| !char.is_ascii_digit());
        self.names += &format!("45.{n}.0.2 {name}\n2a10:{n}::2 {name}\n");
        self.know(&host.namespace);
    }

    /// The names that a machine looks up in its own file: `ip netns exec` lays it over the one of all.
    fn know(&self, namespace: &str) {
        let folder = Path::new("/etc/netns").join(namespace);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{}", self.names)).unwrap();
    }

    /// A new host on a line of its own.
    pub(crate) fn host(&mut self, line: Line) -> Host {
        self.hosts += 1;
        let n = self.hosts;
        let outside = format!("h{n}");
        let namespace = self.namespace(&outside).unwrap();
        let (four, six) = (line != Line::SixOnly, !matches!(line, Line::Asked | Line::Closed));
        self.join("core", &format!("c{n}"), &outside, "wan");
        if four {
            self.inside("core", &["ip", "addr", "add", &format!("45.{n}.0.1/24"), "dev", &format!("c{n}")]);
            self.inside(&outside, &["ip", "addr", "add", &format!("45.{n}.0.2/24"), "dev", "wan"]);
            self.inside(&outside, &["ip", "route", "add", "default", "via", &format!("45.{n}.0.1")]);
        }
        if six {
            let (core, own) = (format!("2a10:{n}::1/48"), format!("2a10:{n}::2/48"));
            self.inside("core", &["ip", "addr", "add", &core, "dev", &format!("c{n}"), "nodad"]);
            self.inside(&outside, &["ip", "addr", "add", &own, "dev", "wan", "nodad"]);
            self.inside(&outside, &["ip", "-6", "route", "add", "default", "via", &format!("2a10:{n}::1")]);
        }
        let home = tempfile::tempdir().unwrap();
        let ip = if four { format!("45.{n}.0.2") } else { format!("2a10:{n}::2") };
        let forwarded = match line {
            Line::Open | Line::SixOnly => return Host { namespace, outside, ip, home },
            Line::Forwarded(port) => Some(port.to_string()),
            Line::Led(first, last) => Some(format!("{first}-{last}")),
            Line::Asked | Line::Closed => None,
        };
        let inner = format!("i{n}");
        let namespace = self.namespace(&inner).unwrap();
        self.join(&outside, "lan", &inner, "wan");
        self.inside(&outside, &["ip", "addr", "add", "192.168.1.1/24", "dev", "lan"]);
        self.inside(&inner, &["ip", "addr", "add", "192.168.1.2/24", "dev", "wan"]);
        self.inside(&inner, &["ip", "route", "add", "default", "via", "192.168.1.1"]);
        if six {
            // Nobody translates these: the router has a part of its own for what is behind it.
            let behind = format!("2a10:{n}:0:1::");
            self.inside(&outside, &["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"]);
            self.inside(&outside, &["ip", "addr", "add", &format!("{behind}1/64"), "dev", "lan", "nodad"]);
            self.inside(&inner, &["ip", "addr", "add", &format!("{behind}2/64"), "dev", "wan", "nodad"]);
            self.inside(&inner, &["ip", "-6", "route", "add", "default", "via", &format!("{behind}1")]);
            let (whole, router) = (format!("{behind}/64"), format!("2a10:{n}::2"));
            self.inside("core", &["ip", "-6", "route", "add", &whole, "via", &router]);
        }
        self.inside(&outside, &["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
        let lead = forwarded.map_or_else(String::new, |ports| {
            let lead = |kind| format!("iifname \"wan\" {kind} dport {ports} dnat to 192.168.1.2;");
            lead("udp") + &lead("tcp")
        });
        let rules = format!(
            "table ip nat {{\n\
             chain out {{ type nat hook postrouting priority srcnat; oifname \"wan\" masquerade; }}\n\
             chain in {{ type nat hook prerouting priority dstnat; {lead} }}\n}}\n\
             table ip filter {{\nchain forward {{ type filter hook forward priority filter; policy drop; \
             iifname \"lan\" accept; ct state established,related accept; ct status dnat accept; }}\n}}\n"
        );
        let file = home.path().join("router.nft");
        std::fs::write(&file, rules).unwrap();
        self.inside(&outside, &["nft", "-f", file.to_str().unwrap()]);
        if line == Line::Asked {
            self.serve_upnp(&outside, home.path());
        }
        Host { namespace, outside, ip, home }
    }

    /// Whether a router can be made that leads ports where it is asked to; says so where not. Where everything is to
    /// be tried (`CI=true`) that is a failure.
    pub(crate) fn has_upnp(&self) -> bool {
        let has = Command::new("miniupnpd").arg("--version").output();
        if let Err(why) = &has {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no miniupnpd: {why}");
            eprintln!("left out: a router that is asked by UPnP: miniupnpd: {why}");
        }
        has.is_ok()
    }

    /// Has a router listen on its inner side, and keep what it is asked for in a table of its own.
    fn serve_upnp(&self, router: &str, folder: &Path) {
        let files = ["upnp.nft", "upnp.conf", "upnp.pid"].map(|name| folder.join(name));
        let [table, settings, pid] = files.each_ref().map(|path| path.to_str().unwrap());
        let rules = "table inet upnp {\nchain forward { }\n\
             chain in { type nat hook prerouting priority dstnat; }\n\
             chain out { type nat hook postrouting priority srcnat; }\n}\n";
        std::fs::write(table, rules).unwrap();
        let says = "ext_ifname=wan\nlistening_ip=lan\nenable_upnp=yes\nenable_natpmp=no\nsecure_mode=yes\n\
             upnp_table_name=upnp\nupnp_nat_table_name=upnp\nupnp_forward_chain=forward\n\
             upnp_nat_chain=in\nupnp_nat_postrouting_chain=out\n\
             uuid=5b1b0b1e-0000-4000-8000-000000000001\n\
             allow 1024-65535 192.168.1.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n";
        std::fs::write(settings, says).unwrap();
        self.inside(router, &["nft", "-f", table]);
        // It goes on in the background, and ends with the namespace.
        self.inside(router, &["miniupnpd", "-f", settings, "-P", pid]);
    }

    /// Takes a host off the net, or puts it back.
    pub(crate) fn connect(&self, host: &Host, on: bool) {
        self.inside(&host.outside, &["ip", "link", "set", "wan", if on { "up" } else { "down" }]);
        if on {
            // A line that was down has forgotten its routes.
            let n = host.outside.trim_start_matches('h');
            self.inside(&host.outside, &["ip", "route", "replace", "default", "via", &format!("45.{n}.0.1")]);
        }
    }

    fn namespace(&mut self, name: &str) -> Result<String, String> {
        let namespace = format!("{}{name}", self.name);
        run("ip", &["netns", "add", &namespace])?;
        self.namespaces.push(namespace.clone());
        self.know(&namespace);
        run("ip", &["-n", &namespace, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// A line between two namespaces.
    fn join(&self, one: &str, here: &str, two: &str, there: &str) {
        let (one, two) = (format!("{}{one}", self.name), format!("{}{two}", self.name));
        let pair = ["-n", &one, "link", "add", here, "type", "veth", "peer", "name", there, "netns", &two];
        run("ip", &pair).unwrap();
        run("ip", &["-n", &one, "link", "set", here, "up"]).unwrap();
        run("ip", &["-n", &two, "link", "set", there, "up"]).unwrap();
    }

    fn inside(&self, name: &str, command: &[&str]) {
        let namespace = format!("{}{name}", self.name);
        run("ip", &[&["netns", "exec", &namespace], command].concat()).unwrap();
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            // Whatever still runs there ends with the test.
            if let Ok(pids) = Command::new("ip").args(["netns", "pids", namespace]).output() {
                for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
                    let _ = run("kill", &["-KILL", pid]);
                }
            }
            let _ = run("ip", &["netns", "del", namespace]);
            let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(namespace));
        }
    }
}

impl Host {
    /// A program on this machine.
    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program).args(arguments);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env_clear().env("PATH", format!("{}:{path}", self.home().join("bin").display()));
        command.env("SESSION_HOME", self.home().join("home")).env("HOME", self.home());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `session` on this machine: its own, where one is installed.
    pub(crate) fn session(&self, arguments: &[&str]) -> Command {
        let own = self.home().join("bin/session");
        self.command(&if own.is_file() { own } else { binary() }, arguments)
    }

    /// Installs a program, in the place of one that may run.
    pub(crate) fn install(&self, name: &str, program: &Path) {
        let folder = self.home().join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        let new = folder.join("new");
        std::fs::copy(program, &new).unwrap();
        std::fs::rename(new, folder.join(name)).unwrap();
    }

    /// Whether somebody listens at a port of its loopback.
    pub(crate) fn listens(&self, port: u16) -> bool {
        let ask = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        self.command(Path::new("bash"), &["-c", &ask]).output().is_ok_and(|ran| ran.status.success())
    }

    /// What an address of this machine's loopback answers over HTTP; none while it does not.
    pub(crate) fn get(&self, port: u16, path: &str) -> Option<Value> {
        let ask = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && cat <&3"
        );
        let ran = self.command(Path::new("bash"), &["-c", &ask]).output().ok()?;
        let text = String::from_utf8(ran.stdout).ok()?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let ran = ran.map_err(|cause| format!("{program}: {cause}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&ran.stderr).trim()))
}
