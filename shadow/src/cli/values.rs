//! Values as a person types them.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::source::Profile;

/// With one worker nothing would be exercised, so a machine with one core runs two all the same.
pub(super) fn default_workers() -> u32 {
    u32::try_from(num_cpus::get()).unwrap_or(u32::MAX).clamp(2, 1024)
}

/// Reads a profile by the name that it has in the chain's own.
pub(crate) fn profile() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::name)).try_map(|name| {
        let found = Profile::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| format!("there is no profile {name}"))
    })
}

pub(super) fn budget(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, from 0.001 to 86400".to_owned()),
    }
}

pub(super) fn blocks_per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e6).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0.001 to 1000000".to_owned()),
    }
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}
