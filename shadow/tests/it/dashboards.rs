//! The dashboard, the rules and the runbook name metrics that there are, and leave none out.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use shadow::metrics::{DECLARATIONS, Kind};

const DASHBOARD: &str = "grafana/shadow.json";
const RULES: &str = "prometheus/rules.yml";
const ALERTS: &str = "prometheus/alerts.yml";
const ALERT_TESTS: &str = "prometheus/alerts_test.yml";
const RUNBOOK: &str = "RUNBOOK.md";

#[test]
fn every_metric_that_is_asked_for_is_declared() {
    let mut declared = BTreeSet::new();
    for declaration in DECLARATIONS {
        declared.insert(declaration.name.to_owned());
        if declaration.kind == Kind::Histogram {
            declared.extend(
                ["_bucket", "_sum", "_count"].map(|part| declaration.name.to_owned() + part),
            );
        }
    }
    for file in [DASHBOARD, RULES, ALERTS, ALERT_TESTS, RUNBOOK] {
        let text = read(file);
        for name in names(&text) {
            assert!(declared.contains(name), "{file} asks for {name}");
        }
    }
}

#[test]
fn every_metric_is_shown_somewhere() {
    let shown = [DASHBOARD, RULES, ALERTS].map(read).concat();
    let shown: BTreeSet<_> = names(&shown).collect();
    for declaration in DECLARATIONS {
        let name = declaration.name;
        let parts = ["", "_bucket", "_sum", "_count"].map(|part| format!("{name}{part}"));
        assert!(parts.iter().any(|part| shown.contains(&**part)), "{name} is shown nowhere");
    }
}

#[test]
fn every_alert_has_a_severity_a_sentence_a_test_each_way_and_a_section_in_the_runbook() {
    let (alerts, tests, runbook) = (read(ALERTS), read(ALERT_TESTS), read(RUNBOOK));
    let mut count = 0;
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap().trim();
        count += 1;
        let severity = alert.lines().find_map(|line| line.trim().strip_prefix("severity: "));
        assert!(matches!(severity, Some("page" | "warning")), "{name}: {severity:?}");
        let summary = alert.lines().find_map(|line| line.trim().strip_prefix("summary: "));
        assert!(summary.is_some_and(|summary| summary.len() > 20), "{name}: {summary:?}");
        let anchor = name.to_lowercase();
        assert!(alert.contains(&format!("RUNBOOK.md#{anchor}")), "{name} names no section");
        let section = runbook.split(&format!("\n## {name}\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("{name} has no section"));
        let section = section.split("\n## ").next().unwrap();
        assert!(
            section.contains("    shadow ") || section.contains("    curl "),
            "{name}: no command"
        );
        let tested: Vec<_> =
            tests.split("alertname: ").filter(|test| test.starts_with(name)).collect();
        let fires = |test: &str| test.contains("exp_labels");
        assert!(tested.iter().any(|test| fires(test)), "{name} is never seen to fire");
        assert!(tested.iter().any(|test| !fires(test)), "{name} is never seen to be silent");
    }
    assert!(count >= 10, "{count} alerts");
}

#[test]
fn the_dashboard_fits_into_any_grafana() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    assert_eq!(dashboard["id"], Value::Null);
    assert_eq!(dashboard["__inputs"][0]["pluginId"], "prometheus");
    let variables: Vec<_> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
    assert_eq!(variables, ["datasource", "instance", "candidate"]);
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels[0]["title"], "Is it safe, is it covered, is it alive");
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64()), "{title} has the id of another");
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let asked = target["expr"].as_str().unwrap();
            assert!(asked.contains("instance=~\"$instance\""), "{title}: {asked}");
            // A table has a column for it.
            let is_of_each = asked.contains("by (instance") || !asked.contains(" by (");
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            let is_told = legend.contains("{{instance}}") || panel["type"] == "table";
            assert!(!is_of_each || is_told, "{title} does not tell the sidecars apart");
        }
    }
}

/// The names of metrics in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(move |c| !is_part(c))
        .filter(|word| word.starts_with("shadow_") && !word.ends_with('_'))
}

#[track_caller]
fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn links_lead_to_what_a_sidecar_answers() {
    let dashboard = read(DASHBOARD);
    let sidecar = "http://${__field.labels.instance}";
    let links: BTreeSet<_> =
        dashboard.split(sidecar).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(links, BTreeSet::from(["/", "/mismatches", "/readyz?verbose"]));
    assert!(read(ALERTS).contains("http://{{ $labels.instance }}/mismatches"));
}
