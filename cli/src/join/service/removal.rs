//! Takes a node's unit away again. The node's folder, the user who owns it, and what somebody else wrote beside the unit
//! stay.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use session_protocols::NetworkName;

use super::{
    UNITS, systemctl,
    unit::{Installed, installed},
    unit_of,
};
use crate::{
    Context,
    args::Join,
    failure::{Exit, Failure},
    network::description,
};

/// Stops the unit, and removes what was installed.
pub(crate) async fn remove(context: &Context, arguments: &Join) -> Result<(), Failure> {
    let unit = unit_of(&name(context, arguments).await?)?;
    let units = arguments.unit_dir.clone().unwrap_or_else(|| PathBuf::from(UNITS));
    let Installed { data, .. } = found(&units, &unit, arguments.data.as_deref())?;
    systemctl(&["stop", &unit]).await?;
    systemctl(&["disable", &unit]).await?;
    let path = units.join(&unit);
    fs::remove_file(&path)
        .map_err(|cause| Failure::io(&format!("cannot remove {}", path.display()), &cause))?;
    systemctl(&["daemon-reload"]).await?;
    // What `systemctl edit` wrote.
    let beside = Some(units.join(format!("{unit}.d"))).filter(|folder| folder.exists());
    context.output.data(&json!({ "unit": unit, "data": data, "left": beside }), || {
        let data = data.display();
        let left = beside.as_ref().map(|folder| format!("\n  left       {}", folder.display()));
        format!(
            "{unit} is stopped and removed\n  folder     {data}, as it was{}\nA node that is registered loses its \
             place while it does not run: session node run --data {data}",
            left.unwrap_or_default()
        )
    })
}

/// As the node is called: a network's name needs no description.
async fn name(context: &Context, arguments: &Join) -> Result<String, Failure> {
    let named = &arguments.named;
    match &arguments.name {
        Some(name) => Ok(name.clone()),
        None if named.source.parse::<NetworkName>().is_ok() => Ok(named.source.clone()),
        None => {
            let found = description::load(context, &named.source, named.publisher).await?;
            Ok(found.network.name.to_string())
        }
    }
}

/// The unit that is meant: it is a node's, and in `data` where that is said.
fn found(units: &Path, unit: &str, data: Option<&Path>) -> Result<Installed, Failure> {
    let all = installed(units);
    let path = units.join(unit);
    let Some(one) = all.iter().find(|one| one.unit == unit) else {
        if path.exists() {
            let message = format!("{} is there, and is not of a node", path.display());
            let remedy = "look at it; nothing was changed";
            return Err(Failure::new(Exit::Refused, "unit_exists", message, remedy));
        }
        let names: Vec<_> = all
            .iter()
            .filter_map(|one| one.unit.strip_prefix("session-")?.strip_suffix(".service"))
            .collect();
        let remedy = match &*names {
            [] => "nothing is left to be removed".to_owned(),
            names => format!("name one that is there: --name {}", names.join(", or --name ")),
        };
        let message = format!("there is no {}", path.display());
        return Err(Failure::new(Exit::Failed, "no_unit", message, remedy));
    };
    let wanted = data.map(std::path::absolute).transpose();
    let wanted = wanted.map_err(|cause| Failure::io("cannot find the folder", &cause))?;
    if wanted.is_some_and(|wanted| wanted != one.data) {
        let message = format!("{} is of the node in {}", path.display(), one.data.display());
        let remedy = "name the unit that is meant: --name NAME; nothing was changed";
        return Err(Failure::new(Exit::Refused, "unit_exists", message, remedy));
    }
    Ok(one.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_unit_is_taken_for_another() {
        let units = tempfile::tempdir().unwrap();
        let refused = |unit: &str, data: Option<&str>| {
            let failure = found(units.path(), unit, data.map(Path::new)).unwrap_err();
            (failure.code, failure.remedy)
        };
        let (code, remedy) = refused("session-net.service", None);
        assert_eq!((code, remedy.as_str()), ("no_unit", "nothing is left to be removed"));
        let write = |unit: &str, text: &str| fs::write(units.path().join(unit), text).unwrap();
        write("session-net.service", "[Service]\nReadWritePaths=\"/srv/one\"\n");
        write("session-own.service", "[Service]\nExecStart=/bin/true\n");
        let one = found(units.path(), "session-net.service", None).unwrap();
        assert_eq!(one.data, Path::new("/srv/one"));
        assert_eq!(found(units.path(), "session-net.service", Some(Path::new("/srv/one"))).ok(), Some(one));
        assert_eq!(refused("session-net.service", Some("/srv/two")).0, "unit_exists");
        assert_eq!(refused("session-own.service", None).0, "unit_exists");
        let (code, remedy) = refused("session-other.service", None);
        assert_eq!((code, remedy.as_str()), ("no_unit", "name one that is there: --name net"));
    }
}
