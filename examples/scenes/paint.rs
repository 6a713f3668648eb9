//! A scene as pixels: a textured background in two quiet inks, anti-aliased shapes, grain.

use std::f32::consts::TAU;

use crate::draw::{Draw, mix};
use crate::scene::{Background, Colour, HEIGHT, Object, Scene, Shape, WIDTH};

type Ink = [f32; 3];

/// The picture, `[HEIGHT, WIDTH, 3]` RGB.
pub fn paint(scene: &Scene) -> Vec<u8> {
    let mut draw = Draw::at(scene.seed, &[2]);
    let mut pixels = vec![0; (WIDTH * HEIGHT * 3) as usize];
    paint_background(&mut pixels, scene.background, &mut draw);
    for object in &scene.objects {
        paint_object(&mut pixels, object, &mut draw);
    }
    add_grain(&mut pixels, &mut draw);
    pixels
}

// -- background

fn paint_background(pixels: &mut [u8], background: Background, draw: &mut Draw) {
    let inks = quiet_inks(draw);
    let turn = draw.between(0.0, TAU);
    let (across, down) = (turn.cos(), turn.sin());
    let period = draw.between(26.0, 54.0);
    match background {
        Background::Plain => {
            let reach = across.abs() * WIDTH as f32 + down.abs() * HEIGHT as f32;
            let (x0, y0) = (WIDTH as f32 / 2.0, HEIGHT as f32 / 2.0);
            fill(pixels, inks, |x, y| 0.5 + ((x - x0) * across + (y - y0) * down) / reach);
        }
        Background::Striped => {
            fill(pixels, inks, |x, y| band(x * across + y * down, period));
        }
        Background::Checkered => {
            let sign = |along: f32| 2.0 * band(along, 2.0 * period) - 1.0;
            fill(pixels, inks, |x, y| 0.5 + 0.5 * sign(x) * sign(y));
        }
        Background::Speckled => {
            let salt = draw.next();
            fill(pixels, inks, |x, y| speck(x, y, salt));
        }
        Background::Wavy => {
            let length = draw.between(12.0, 24.0);
            let sway: Vec<f32> = (0..WIDTH).map(|x| 0.3 * period * (x as f32 / length).sin()).collect();
            fill(pixels, inks, |x, y| band(y + sway[x as usize], period));
        }
    }
}

/// Two middle grays with a breath of colour: every object's colour stands out from both.
fn quiet_inks(draw: &mut Draw) -> [Ink; 2] {
    let dark = draw.between(105.0, 135.0);
    let tint = [0; 3].map(|_| draw.between(-16.0, 16.0));
    let step = draw.between(34.0, 52.0);
    [tint.map(|t| dark + t), tint.map(|t| dark + step - t / 2.0)]
}

/// Mixes the inks by `share` of the second (0 to 1) at each pixel's centre.
fn fill(pixels: &mut [u8], [first, second]: [Ink; 2], share: impl Fn(f32, f32) -> f32) {
    let mixed: Vec<[u8; 3]> = (0..=255).map(|n| blend(first, second, n as f32 / 255.0)).collect();
    let rows = pixels.chunks_exact_mut(WIDTH as usize * 3);
    for (y, row) in rows.enumerate() {
        for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let share = share(x as f32 + 0.5, y as f32 + 0.5);
            *pixel = mixed[usize::from((share * 255.0 + 0.5) as u8)];
        }
    }
}

fn blend(from: Ink, to: Ink, share: f32) -> [u8; 3] {
    [0, 1, 2].map(|c| (from[c] + (to[c] - from[c]) * share + 0.5) as u8)
}

/// Bands of equal width, 0 and 1 by turns, with edges two pixels soft.
fn band(along: f32, period: f32) -> f32 {
    let phase = along * (1.0 / period) + 64.0; // positive anywhere in the picture, so the cast rounds down
    let triangle = (2.0 * (phase - (phase as i32) as f32) - 1.0).abs();
    ((triangle - 0.5) * period / 4.0 + 0.5).clamp(0.0, 1.0)
}

/// One dot of 2 to 4 pixels' radius somewhere in each cell of 14 pixels.
fn speck(x: f32, y: f32, salt: u64) -> f32 {
    const CELL: f32 = 14.0;
    let (column, row) = ((x * (1.0 / CELL)) as u32, (y * (1.0 / CELL)) as u32);
    let bits = mix(salt ^ (u64::from(column) << 32 | u64::from(row)));
    let unit = |shift: u32| ((bits >> shift) & 0xff) as f32 / 255.0;
    let radius = 2.0 + 2.0 * unit(0);
    let centre = |shift| radius + (CELL - 2.0 * radius) * unit(shift);
    let dx = x - column as f32 * CELL - centre(8);
    let dy = y - row as f32 * CELL - centre(16);
    (radius - (dx * dx + dy * dy).sqrt() + 0.5).clamp(0.0, 1.0)
}

/// Adds noise of ±8 levels to every channel, so that no area is smoother than a photograph's.
fn add_grain(pixels: &mut [u8], draw: &mut Draw) {
    for group in pixels.as_chunks_mut::<8>().0 {
        let noise = draw.next().to_le_bytes();
        for (value, noise) in group.iter_mut().zip(noise) {
            let shift = ((i16::from(noise) - 128) * 8) >> 7;
            *value = (i16::from(*value) + shift).clamp(0, 255) as u8;
        }
    }
}

// -- objects

fn paint_object(pixels: &mut [u8], object: &Object, draw: &mut Draw) {
    let ink = ink(object.colour).map(|v| (v + draw.between(-8.0, 8.0)).clamp(0.0, 255.0));
    let outline = outline(object.shape);
    let span = |at: f32, end: u32| {
        let low = (at - object.radius - 1.0).max(0.0) as usize;
        low..((at + object.radius + 2.0) as usize).min(end as usize)
    };
    for y in span(object.y, HEIGHT) {
        for x in span(object.x, WIDTH) {
            let point = [x as f32 + 0.5 - object.x, y as f32 + 0.5 - object.y];
            let distance = outline.distance(point.map(|v| v / object.radius)) * object.radius;
            let cover = (0.5 - distance).clamp(0.0, 1.0);
            if cover > 0.0 {
                let at = (y * WIDTH as usize + x) * 3;
                let below = [0, 1, 2].map(|c| f32::from(pixels[at + c]));
                pixels[at..at + 3].copy_from_slice(&blend(below, ink, cover));
            }
        }
    }
}

fn ink(colour: Colour) -> Ink {
    match colour {
        Colour::Red => [212.0, 32.0, 36.0],
        Colour::Orange => [246.0, 134.0, 22.0],
        Colour::Yellow => [246.0, 222.0, 44.0],
        Colour::Green => [34.0, 150.0, 60.0],
        Colour::Blue => [34.0, 76.0, 210.0],
        Colour::Purple => [134.0, 44.0, 170.0],
        Colour::White => [246.0, 246.0, 246.0],
        Colour::Black => [18.0, 18.0, 20.0],
    }
}

/// A shape in the box from −1 to 1, y downwards.
enum Outline {
    Disc,
    Ring,
    Polygon(Vec<[f32; 2]>),
}

impl Outline {
    /// Distance to the edge, negative inside.
    fn distance(&self, [x, y]: [f32; 2]) -> f32 {
        match self {
            Outline::Disc => (x * x + y * y).sqrt() - 1.0,
            Outline::Ring => ((x * x + y * y).sqrt() - 0.78).abs() - 0.22,
            Outline::Polygon(corners) => polygon_distance(corners, x, y),
        }
    }
}

fn outline(shape: Shape) -> Outline {
    let around = |n: usize, radius: fn(usize) -> f32| {
        let corner = |i| {
            let turn = TAU * i as f32 / n as f32;
            [radius(i) * turn.sin(), -radius(i) * turn.cos()]
        };
        (0..n).map(corner).collect()
    };
    match shape {
        Shape::Circle => Outline::Disc,
        Shape::Ring => Outline::Ring,
        Shape::Square => Outline::Polygon(vec![[-0.88, -0.88], [0.88, -0.88], [0.88, 0.88], [-0.88, 0.88]]),
        Shape::Triangle => Outline::Polygon(vec![[0.0, -0.92], [1.0, 0.86], [-1.0, 0.86]]),
        Shape::Diamond => Outline::Polygon(vec![[0.0, -1.0], [0.7, 0.0], [0.0, 1.0], [-0.7, 0.0]]),
        Shape::Star => Outline::Polygon(around(10, |i| if i % 2 == 0 { 1.0 } else { 0.42 })),
        Shape::Cross => Outline::Polygon(cross(0.32)),
        Shape::Heart => Outline::Polygon((0..28).map(heart).collect()),
    }
}

/// An upright cross with arms `2 * half` wide.
fn cross(half: f32) -> Vec<[f32; 2]> {
    let quarter = [[-half, -1.0], [half, -1.0], [half, -half]];
    let turned = |turns: usize| {
        quarter.map(|corner| (0..turns).fold(corner, |[x, y], _| [-y, x])) // a right turn each
    };
    (0..4).flat_map(turned).collect()
}

/// Point `i` of 28 on the heart curve 16 sin³t, 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t.
fn heart(i: usize) -> [f32; 2] {
    let t = TAU * i as f32 / 28.0;
    let y = 13.0 * t.cos() - 5.0 * (2.0 * t).cos() - 2.0 * (3.0 * t).cos() - (4.0 * t).cos();
    [t.sin().powi(3), -(y + 2.5) / 16.0]
}

/// Distance to the nearest edge, negative by the even-odd rule.
fn polygon_distance(corners: &[[f32; 2]], x: f32, y: f32) -> f32 {
    let (mut nearest, mut inside) = (f32::INFINITY, false);
    let mut from = corners[corners.len() - 1];
    for &to in corners {
        let (ex, ey) = (to[0] - from[0], to[1] - from[1]);
        let (px, py) = (x - from[0], y - from[1]);
        let along = ((px * ex + py * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0);
        let (dx, dy) = (px - along * ex, py - along * ey);
        nearest = nearest.min(dx * dx + dy * dy);
        if (from[1] > y) != (to[1] > y) && px < ex * py / ey {
            inside = !inside;
        }
        from = to;
    }
    if inside { -nearest.sqrt() } else { nearest.sqrt() }
}
