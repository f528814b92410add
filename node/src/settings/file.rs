//! `node.toml`: from its text to what it says, keeping places for errors; and a new one.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range, path::Path};

use session_chain::network::nearest;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Given, Key, Kind, Place, Problem, Settings, SettingsError};

/// The name of the file, in the data folder of its node.
pub const FILE: &str = "node.toml";
/// The longest such file, in bytes.
pub const MAX_FILE: usize = 64 << 10;

pub(super) fn read(path: &Path, text: &str) -> Result<BTreeMap<&'static str, Given>, SettingsError> {
    let reader = Reader { path, text };
    if text.len() > MAX_FILE {
        return Err(reader.error(&(0..0), Problem::TooLong));
    }
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().replace('\n', ", ");
        reader.error(&error.span().unwrap_or(0..0), Problem::Syntax { message })
    })?;
    let mut items: Vec<_> = table.get_ref().iter().collect();
    items.sort_by_key(|(name, _)| name.span().start);
    let given = items.into_iter().map(|(name, value)| {
        let key = Settings::key(name.get_ref()).ok_or_else(|| {
            let key = name.get_ref().to_string();
            let nearest = nearest(&key.replace('-', "_"), Settings::NAMES);
            reader.error(&name.span(), Problem::Unknown { key, nearest })
        })?;
        Ok((key.name, reader.given(key, value)?))
    });
    given.collect()
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    /// Where a byte stands: its line and its column, both from 1.
    fn place(&self, byte: usize) -> Place {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.chars().rev().take_while(|character| *character != '\n').count();
        Place::File(self.path.to_owned(), line, column.saturating_add(1))
    }

    fn error(&self, span: &Range<usize>, problem: Problem) -> SettingsError {
        SettingsError { place: self.place(span.start), problem }
    }

    fn given(&self, key: &'static Key, value: &Spanned<DeValue<'_>>) -> Result<Given, SettingsError> {
        let texts = match key.kind {
            Kind::List => self.list(key, value)?,
            Kind::Text | Kind::Size | Kind::Number | Kind::Bool | Kind::Path | Kind::Network => {
                vec![self.text(key, value)?]
            }
        };
        // Also where another layer overrides it: a file is right or wrong as a whole.
        let read: Vec<&str> = texts.iter().map(String::as_str).collect();
        let place = self.place(value.span().start);
        match (key.check)(&read) {
            Ok(_) => Ok(Given { texts, place }),
            Err(why) => Err(SettingsError::value(key, place, why)),
        }
    }

    fn list(&self, key: &'static Key, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, SettingsError> {
        let expected = "an array of strings";
        let items = value.get_ref().as_array().ok_or_else(|| self.other(key, expected, value))?;
        let text = |item: &Spanned<DeValue<'_>>| {
            let text = item.get_ref().as_str().ok_or_else(|| self.other(key, expected, item))?;
            // Here, so that the one of several that is wrong is the one that is shown.
            let checked = key.check(text);
            checked.map_err(|why| SettingsError::value(key, self.place(item.span().start), why))?;
            Ok(text.to_owned())
        };
        items.iter().map(text).collect()
    }

    fn text(&self, key: &'static Key, value: &Spanned<DeValue<'_>>) -> Result<String, SettingsError> {
        let item = value.get_ref();
        let number =
            item.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        match (key.kind, item.as_str(), number) {
            (Kind::Bool, _, _) => {
                let is = item.as_bool().ok_or_else(|| self.other(key, "true or false", value))?;
                Ok(is.to_string())
            }
            (Kind::Size | Kind::Number, None, Some(number)) => Ok(number.to_string()),
            (Kind::Size | Kind::Text, Some(text), _) => Ok(text.to_owned()),
            (Kind::Path, Some(text), _) if !text.is_empty() => Ok(folder.join(text).display().to_string()),
            (Kind::Network, Some(text), _) if text.contains('/') || text.ends_with(".toml") => {
                Ok(folder.join(text).display().to_string())
            }
            (Kind::Path | Kind::Network, Some(text), _) => Ok(text.to_owned()),
            (Kind::Number, _, _) => Err(self.other(key, "an integer", value)),
            (Kind::Size, _, _) => Err(self.other(key, "an integer or a string", value)),
            (Kind::Text | Kind::Path | Kind::Network | Kind::List, _, _) => {
                Err(self.other(key, "a string", value))
            }
        }
    }

    fn other(&self, key: &Key, expected: &'static str, value: &Spanned<DeValue<'_>>) -> SettingsError {
        let found = value.get_ref().type_str();
        self.error(&value.span(), Problem::Type { key: key.name, expected, found })
    }
}

impl Settings {
    /// A file in which each setting is explained, and commented out at its default.
    pub fn template() -> String {
        let mut text = String::from(
            "# The settings of a node. A flag of `session node run` counts before the environment, that before this\n\
             # file, this before the network's file, and that before the defaults, which are shown here.\n\
             # What counts, and why: session config show --origin --data DIR\n",
        );
        for key in Self::KEYS {
            let default = (key.check)(key.default).ok().and_then(|shown| shown.to_toml());
            let example = default.unwrap_or_else(|| match key.kind {
                Kind::Bool => "true".to_owned(),
                Kind::Text | Kind::Path | Kind::Network | Kind::List | Kind::Size | Kind::Number => {
                    format!("\"{}\"", key.placeholder)
                }
            });
            text.push('\n');
            for line in key.help {
                // Writing to memory cannot fail.
                let _ = writeln!(text, "#{line}");
            }
            let (flag, environment) = (key.flag(), key.environment());
            let _ = writeln!(text, "# --{flag}, {environment}\n# {} = {example}", key.name);
        }
        text
    }
}
