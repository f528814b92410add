//! A network's description: found by name, in a file, or at an address; whose it is; and kept here.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, Url, header, redirect};
use session_chain::{
    NetworkFile,
    network::{MAX_BYTES, Problem, Publisher},
};

use crate::{
    Context,
    failure::{Exit, Failure, chain},
};

/// The networks that are built in, and the files that describe them.
pub(crate) const PRESETS: [(&str, &str); 2] = [
    ("mainnet", include_str!("../../networks/mainnet.toml")),
    ("testnet", include_str!("../../networks/testnet.toml")),
];
/// The folder of descriptions that were added, in the home.
const KEPT: &str = "networks";
/// How long a description may take to come.
const PATIENCE: Duration = Duration::from_secs(15);
/// What a server has it at, unless the address says otherwise.
const PATH: &str = "/network.toml";

/// A description that can be relied on as far as `publisher` tells.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) network: NetworkFile,
    pub(crate) text: String,
    /// Who signed it, if somebody did.
    pub(crate) publisher: Option<Publisher>,
    /// Where it was found.
    pub(crate) from: String,
}

impl Description {
    /// That in a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let from = path.display().to_string();
        parse(read(path)?, from.clone(), &from)
    }

    /// Whether it came with this program, or is of a testnet on one machine, on whose chain nothing is worth anything.
    pub(crate) fn is_own(&self) -> bool {
        let chain = self.network.settlement.as_ref().map(|settlement| settlement.chain);
        let of_testnet = self.network.local && chain == Some(session_testnet::CHAIN);
        PRESETS.iter().any(|(_, text)| *text == self.text) || of_testnet
    }
}

/// Where a description is.
enum Source {
    Url(Url, Option<Publisher>),
    File(PathBuf),
    Preset(&'static str),
}

/// Finds and reads the description that a name, a path or an address means. Where a publisher is named, nobody
/// else's is taken, and neither is it where another one's is kept under its name.
pub(crate) async fn load(
    context: &Context,
    named: &str,
    publisher: Option<Publisher>,
) -> Result<Description, Failure> {
    let source = find(context, named)?;
    let mut wanted = publisher;
    let (text, from) = match &source {
        Source::Url(url, key) => {
            wanted = wanted.or(*key);
            if url.scheme() == "http" && wanted.is_none() {
                return Err(unsafe_http(url));
            }
            (fetch(url).await?, url.to_string())
        }
        Source::File(path) => (read(path)?, path.display().to_string()),
        Source::Preset(text) => ((*text).to_owned(), format!("the network {named}, built in")),
    };
    let description = parse(text, from, named)?;
    check(context, &description, wanted, matches!(source, Source::Url(..)))?;
    Ok(description)
}

/// Keeps a description, so that its name is enough from now on. Returns where.
pub(crate) fn keep(context: &Context, description: &Description) -> Result<PathBuf, Failure> {
    // The testnet of this machine has its own.
    if description.network.name.as_str() == super::LOCAL {
        return Ok(PathBuf::from(&description.from));
    }
    let path = kept(&context.home_path()?, description.network.name.as_str());
    let failed = |cause| Failure::io(&format!("cannot keep the description in {}", path.display()), &cause);
    context.home()?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new).map_err(failed)?;
    file.write_all(description.text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&new, &path).map_err(failed)?;
    Ok(path)
}

/// The names of the descriptions that are kept.
pub(crate) fn names(home: &Path) -> Vec<String> {
    let folder = fs::read_dir(home.join(KEPT)).into_iter().flatten().flatten();
    let name = |path: PathBuf| {
        (path.extension()? == "toml").then(|| path.file_stem()?.to_str().map(ToOwned::to_owned)).flatten()
    };
    let mut names: Vec<String> = folder.filter_map(|entry| name(entry.path())).collect();
    names.sort();
    names
}

/// Where the description of a name is kept.
pub(crate) fn kept(home: &Path, name: &str) -> PathBuf {
    home.join(KEPT).join(format!("{name}.toml"))
}

fn find(context: &Context, named: &str) -> Result<Source, Failure> {
    if named.starts_with("http://") || named.starts_with("https://") {
        return address(named);
    }
    let path = PathBuf::from(named);
    if named.contains('/') || named.ends_with(".toml") {
        return Ok(Source::File(path));
    }
    // What is known is that, whoever laid a file of its name into the folder where this runs.
    if named == super::LOCAL {
        return Ok(Source::File(super::local_folder()?.network_path()));
    }
    let home = context.home_path()?;
    let kept = kept(&home, named);
    if kept.is_file() {
        return Ok(Source::File(kept));
    }
    if let Some((_, text)) = PRESETS.iter().find(|(name, _)| *name == named) {
        return Ok(Source::Preset(text));
    }
    if path.is_file() {
        return Ok(Source::File(path));
    }
    let known: Vec<String> = PRESETS.iter().map(|(name, _)| (*name).to_owned()).chain(names(&home)).collect();
    Err(Failure::new(
        Exit::Failed,
        "no_network",
        format!("there is no network named {named}; known here are {}", known.join(", ")),
        "name one of them, a network's file, or the https address of its description",
    ))
}

/// An address; what follows a # is the publisher's key.
fn address(named: &str) -> Result<Source, Failure> {
    let wrong = |why: String| {
        Failure::usage(why, "write it as https://net.example.org or https://net.example.org#KEY")
    };
    let mut url: Url = named.parse().map_err(|error| wrong(format!("{named} is no address: {error}")))?;
    let key = url.fragment().map(str::parse::<Publisher>).transpose();
    let key = key.map_err(|error| wrong(format!("what follows the # of {named}: {error}")))?;
    url.set_fragment(None);
    if url.path() == "/" {
        url.set_path(PATH);
    }
    Ok(Source::Url(url, key))
}

/// Few steps, and none from what is protected to what is not.
fn policy(url: &Url) -> redirect::Policy {
    let secure = url.scheme() == "https";
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > 3 || secure && attempt.url().scheme() != "https" {
            return attempt.stop();
        }
        attempt.follow()
    })
}

async fn fetch(url: &Url) -> Result<String, Failure> {
    let failed = |exit, message: String, remedy: &str| Failure::new(exit, "description", message, remedy);
    let client = Client::builder().redirect(policy(url)).timeout(PATIENCE).build();
    let client =
        client.map_err(|error| failed(Exit::Failed, chain(&error), "check the system's certificates"))?;
    let unreachable = |error: reqwest::Error| {
        let message = format!("{url} cannot be read: {}", chain(&error.without_url()));
        failed(Exit::NotReady, message, "check the address, and whether it opens elsewhere; then try again")
    };
    let mut response = client.get(url.clone()).send().await.map_err(unreachable)?;
    let status = response.status();
    if !status.is_success() {
        let message = format!("{url} answers with HTTP {}", status.as_u16());
        return Err(failed(Exit::Failed, message, "check the address: it is not where the description is"));
    }
    let page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    if page {
        let message = format!("{url} answers with a web page, and not with a network's description");
        return Err(failed(
            Exit::Failed,
            message,
            "ask whoever publishes the network for the address of its description",
        ));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len().saturating_add(chunk.len()) > MAX_BYTES {
            let message = format!("{url} answers with more than {MAX_BYTES} bytes");
            return Err(failed(
                Exit::Failed,
                message,
                "check the address: it is not where the description is",
            ));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| {
        let message = format!("{url} answers with what is no text");
        failed(Exit::Failed, message, "check the address: it is not where the description is")
    })
}

/// The text of a description's file.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let long = fs::metadata(path).is_ok_and(|file| file.len() > MAX_BYTES as u64);
    let text =
        if long { Err(io::Error::other("it is too long to be one")) } else { fs::read_to_string(path) };
    text.map_err(|cause| {
        let message = format!("cannot read the network file {shown}: {cause}");
        Failure::new(Exit::Failed, "network_file", message, "check the path")
    })
}

fn parse(text: String, from: String, named: &str) -> Result<Description, Failure> {
    let read = NetworkFile::parse(&text).and_then(|network| Ok((network, NetworkFile::publisher(&text)?)));
    let (network, publisher) = read.map_err(|error| match &error.problem {
        Problem::Nodes { found: 0 } => Failure::new(
            Exit::NotReady,
            "no_bootstrap",
            format!("the network {named} has no bootstrap nodes yet: there is nothing to join"),
            "join another network by its address, or begin one: session network publish",
        ),
        Problem::Unsigned { .. } => {
            Failure::new(Exit::Refused, "bad_signature", format!("{from}: {error}"), error.remedy())
        }
        _ => Failure::new(Exit::Failed, "network_file", format!("{from}: {error}"), error.remedy()),
    })?;
    Ok(Description { network, text, publisher, from })
}

/// Refuses what somebody else signed than was said, or than signed what is kept under the name.
fn check(
    context: &Context,
    description: &Description,
    wanted: Option<Publisher>,
    fetched: bool,
) -> Result<(), Failure> {
    let Description { network, publisher, from, .. } = description;
    let refused =
        |message: String, remedy: &str| Err(Failure::new(Exit::Refused, "publisher", message, remedy));
    let told =
        |publisher: &Option<Publisher>| publisher.map_or_else(|| "nobody".to_owned(), |it| it.to_string());
    if let Some(wanted) = wanted.filter(|wanted| Some(*wanted) != *publisher) {
        let message = format!("{from} is signed by {}, and not by {wanted}", told(publisher));
        return refused(message, "ask whoever publishes the network for its key, another way than this one");
    }
    if fetched && publisher.is_none() {
        let message = format!("{from} is signed by nobody: whoever stands in between could have written it");
        return refused(
            message,
            "ask whoever publishes the network to sign it, or save it, read it, and name the file",
        );
    }
    let name = network.name.as_str();
    let built_in = PRESETS.iter().any(|(preset, text)| *preset == name && *text != description.text);
    if fetched && (built_in || network.local || name == super::LOCAL) {
        let message =
            format!("{from} describes {name}, which is the name of a network that is known here already");
        return refused(message, "ask whoever publishes it to give it a name of its own");
    }
    let kept = kept(&context.home_path()?, name);
    let text = match fs::read_to_string(&kept) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => {
            return Err(Failure::io(&format!("cannot read {}, which is kept of it", kept.display()), &cause));
        }
    };
    let known = NetworkFile::parse(&text).and_then(|file| Ok((file, NetworkFile::publisher(&text)?)));
    let Ok((file, before)) = known else {
        let message = format!("{}, which is kept of the network {name}, cannot be read", kept.display());
        let remedy = format!("look at it: session network verify {}; or move it away", kept.display());
        return Err(Failure::new(Exit::Failed, "network_file", message, remedy));
    };
    // Who signed nothing before may sign now.
    if let Some(signer) = before.filter(|signer| Some(*signer) != *publisher) {
        let message = format!(
            "{from} is signed by {}, and the network {name} that is kept here by {signer}",
            told(publisher)
        );
        let remedy = format!("if it is another network that is meant, move {} away first", kept.display());
        return Err(Failure::new(Exit::Refused, "publisher", message, remedy));
    }
    let written = |file: &NetworkFile| file.settlement.as_ref().map_or(0, |settlement| settlement.written);
    if before.is_some() && written(network) < written(&file) {
        let message =
            format!("{from} is older than what is kept of the network {name}: somebody shows what was");
        let remedy = format!("use what is kept: session --network {name} ...; or fetch it another way");
        return Err(Failure::new(Exit::Refused, "outdated", message, remedy));
    }
    Ok(())
}

fn unsafe_http(url: &Url) -> Failure {
    Failure::new(
        Exit::Refused,
        "not_safe",
        format!("{url} is not protected on its way: anybody in between could answer"),
        "name an https address, or the publisher's key, which nobody in between has: add --publisher KEY",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::Global, output::Output};

    #[test]
    fn a_name_that_is_known_is_no_file_that_lies_about() {
        let home = tempfile::tempdir().unwrap();
        let global =
            Global { json: true, home: Some(home.path().into()), network: None, named: false, direct: false };
        let context = Context { output: Output::new(true), global };
        // It lies in the folder where tests run.
        let named = "README.md";
        let found = |named: &str| match find(&context, named) {
            Ok(Source::File(path)) => path,
            _ => panic!("{named} is no file"),
        };
        assert_eq!(found(named), Path::new(named));
        let known = kept(home.path(), named);
        fs::create_dir_all(known.parent().unwrap()).unwrap();
        fs::write(&known, "").unwrap();
        assert_eq!(found(named), known);
        assert_eq!(found("./README.md"), Path::new("./README.md"), "that file is meant");
        assert_eq!(super::super::file(named, home.path()).ok(), Some(known));
        assert_eq!(super::super::file("./README.md", home.path()).ok(), Some("./README.md".into()));
        assert!(matches!(find(&context, "testnet"), Ok(Source::Preset(_))));
    }
}
