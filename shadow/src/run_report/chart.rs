//! The run as a picture: verdicts, lag and speed-up along its topoheights.

use std::{collections::BTreeSet, error::Error, ops::Range};

use plotters::{
    chart::{ChartBuilder, ChartContext, LabelAreaPosition},
    coord::{Shift, types::RangedCoordf64},
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, Rectangle, Text},
    prelude::{Cartesian2d, SVGBackend},
    series::LineSeries,
    style::{BLACK, Color, RGBColor, ShapeStyle, WHITE},
};

use super::{
    files::ReportError,
    track::{Stretch, Track},
};
use crate::coverage::BlockCounts;

/// The picture, as SVG.
pub(crate) fn chart(title: &str, track: &Track) -> Result<String, ReportError> {
    let mut svg = String::new();
    draw(title, track, &mut svg).map_err(|error| ReportError::Chart(error.to_string()))?;
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Axes<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), Box<dyn Error>>;

fn draw(title: &str, track: &Track, svg: &mut String) -> Drawn {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, ("sans-serif", 18))?;
    let panels = area.split_evenly((3, 1));
    let from = track.iter().map(|(from, ..)| from).min().unwrap_or_default();
    let end = track.iter().map(|(_, end, _)| end).max().unwrap_or_default().max(from + 1);
    let along = from as f64..end as f64;
    if let [verdicts, lag, speed_up] = panels.as_slice() {
        draw_verdicts(verdicts, along.clone(), track)?;
        draw_lag(lag, along.clone(), track)?;
        draw_speed_up(speed_up, along, track)?;
    }
    area.present()?;
    Ok(())
}

/// Blocks by verdict as shares of each stretch. One mismatch in a thousand blocks would not be seen, so
/// every stretch with one has a mark.
fn draw_verdicts(area: &Area<'_>, along: Range<f64>, track: &Track) -> Drawn {
    let mut axes = axes(area, "verdicts, % of blocks", along, 0.0..108.0)?;
    for (place, (name, colour, count)) in VERDICTS.into_iter().enumerate() {
        let bars = track.iter().filter_map(|(from, end, stretch)| {
            let blocks = &stretch.blocks;
            let share = |count: u64| count as f64 * 100.0 / blocks.total.max(1) as f64;
            let below: u64 = VERDICTS.iter().take(place).map(|(_, _, count)| count(blocks)).sum();
            let (bottom, height) = (share(below), share(count(blocks)));
            let corners = [(from as f64, bottom), (end as f64, bottom + height)];
            (height > 0.0).then(|| Rectangle::new(corners, colour.filled()))
        });
        axes.draw_series(bars)?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    let marks = track.iter().filter(|(_, _, stretch)| stretch.blocks.mismatch > 0);
    let marks =
        marks.map(|(from, end, _)| Circle::new((middle(from, end), 104.0), 3, MISMATCH.filled()));
    axes.draw_series(marks)?;
    legend(area, VERDICTS.map(|(name, colour, _)| (name.to_owned(), colour.into())))
}

fn draw_lag(area: &Area<'_>, along: Range<f64>, track: &Track) -> Drawn {
    let lag = |(from, end, stretch): (u64, u64, &Stretch)| {
        Some((middle(from, end), stretch.lag_seconds?))
    };
    let points: Vec<_> = track.iter().filter_map(lag).collect();
    let most = points.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    let mut axes = axes(area, "lag, seconds", along, 0.0..above(most))?;
    let line = COLOURS[0];
    let dots = points.iter().map(|point| Circle::new(*point, 2, line.filled()));
    let dots: Vec<_> = dots.collect();
    axes.draw_series(LineSeries::new(points, line.stroke_width(1)))?;
    axes.draw_series(dots)?;
    Ok(())
}

fn draw_speed_up(area: &Area<'_>, along: Range<f64>, track: &Track) -> Drawn {
    let names: BTreeSet<&str> =
        track.iter().flat_map(|(_, _, stretch)| stretch.spent.keys().map(String::as_str)).collect();
    let lines: Vec<(&str, Vec<(f64, f64)>)> = names
        .into_iter()
        .map(|name| {
            let point = |(from, end, stretch): (u64, u64, &Stretch)| {
                Some((middle(from, end), stretch.spent.get(name)?.speed_up()?))
            };
            (name, track.iter().filter_map(point).collect())
        })
        .collect();
    let most = lines.iter().flat_map(|(_, points)| points).map(|(_, times)| *times);
    let most = most.fold(1.0, f64::max);
    let mut axes = axes(area, "speed-up, times", along.clone(), 0.0..above(most))?;
    let as_fast = [(along.start, 1.0), (along.end, 1.0)];
    let grey = BLACK.mix(0.4);
    axes.draw_series(LineSeries::new(as_fast, grey.stroke_width(1)))?;
    let mut names = vec![("as fast as the control".to_owned(), grey.into())];
    for ((name, points), colour) in lines.into_iter().zip(COLOURS.into_iter().cycle()) {
        axes.draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(1))?;
        names.push((name.to_owned(), colour.into()));
    }
    legend(area, names)
}

fn axes<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    along: Range<f64>,
    values: Range<f64>,
) -> Result<Axes<'a, 'b>, Box<dyn Error>>
where
    'b: 'a,
{
    let mut axes = ChartBuilder::on(area)
        .margin(8)
        .margin_right(170)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 36)
        .build_cartesian_2d(along, values)?;
    axes.configure_mesh()
        .light_line_style(ShapeStyle::from(&WHITE))
        .x_desc("topoheight")
        .y_desc(title)
        .x_label_formatter(&|at| format!("{at:.0}"))
        .y_label_formatter(&|value| match *value {
            value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
            value => format!("{value:.2}"),
        })
        .y_labels(5)
        .draw()?;
    Ok(axes)
}

/// Names and their colours, one below the other, to the right of a panel.
fn legend(area: &Area<'_>, lines: impl IntoIterator<Item = (String, ShapeStyle)>) -> Drawn {
    for ((name, style), place) in lines.into_iter().zip(0..) {
        let (left, top) = (LEGEND_LEFT, 14 + place * 17);
        area.draw(&Rectangle::new([(left, top), (left + 12, top + 10)], style.filled()))?;
        area.draw(&Text::new(name, (left + 18, top), ("sans-serif", 12)))?;
    }
    Ok(())
}

fn middle(from: u64, end: u64) -> f64 {
    (from as f64 + end as f64) / 2.0
}

/// The upper end of an axis, with some room, and more than nothing.
fn above(most: f64) -> f64 {
    (most * 1.15).max(0.01)
}

type CountOf = fn(&BlockCounts) -> u64;

/// From below: what was compared at work, and then what was not.
const VERDICTS: [(&str, RGBColor, CountOf); 5] = [
    ("match", RGBColor(0, 158, 115), |blocks| blocks.matching),
    ("mismatch", MISMATCH, |blocks| blocks.mismatch),
    ("inconclusive", RGBColor(230, 159, 0), |blocks| blocks.inconclusive),
    ("not exercised", RGBColor(190, 190, 190), |blocks| blocks.not_exercised),
    ("opaque", RGBColor(148, 103, 189), |blocks| blocks.opaque),
];

const MISMATCH: RGBColor = RGBColor(204, 0, 0);

/// Told apart by nearly everybody.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(204, 121, 167), RGBColor(86, 180, 233)];

/// How far to the right the legend of a panel begins, in pixels.
const LEGEND_LEFT: i32 = 800;

/// In pixels.
const SIZE: (u32, u32) = (960, 720);
