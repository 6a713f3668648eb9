//! What is in a picture: objects, where they stand, and what may truly be said of them.

use std::collections::HashSet;

use crate::draw::Draw;

/// Picture size, in pixels.
pub const WIDTH: u32 = 640;
pub const HEIGHT: u32 = 480;

/// Objects keep to the middle square of this side: the centre crops of `prepare` (480) and
/// `train` (224 of 256) then never cut away what a caption speaks of.
const FIELD: f32 = 420.0;

/// Least distance between the boxes of two objects, in pixels.
const GAP: f32 = 16.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    Small,
    Medium,
    Big,
}

impl Size {
    /// Half the side of an object's box, in pixels: the ranges lie well apart.
    fn radii(self) -> (f32, f32) {
        match self {
            Size::Small => (24.0, 30.0),
            Size::Medium => (42.0, 50.0),
            Size::Big => (70.0, 82.0),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    White,
    Black,
}

const COLOURS: [Colour; 8] = [
    Colour::Red,
    Colour::Orange,
    Colour::Yellow,
    Colour::Green,
    Colour::Blue,
    Colour::Purple,
    Colour::White,
    Colour::Black,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    Circle,
    Square,
    Triangle,
    Star,
    Diamond,
    Ring,
    Cross,
    Heart,
}

const SHAPES: [Shape; 8] = [
    Shape::Circle,
    Shape::Square,
    Shape::Triangle,
    Shape::Star,
    Shape::Diamond,
    Shape::Ring,
    Shape::Cross,
    Shape::Heart,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    Plain,
    Striped,
    Checkered,
    Speckled,
    Wavy,
}

const BACKGROUNDS: [Background; 5] =
    [Background::Plain, Background::Striped, Background::Checkered, Background::Speckled, Background::Wavy];

/// A shape that fits its box: the square of half side `radius` around (`x`, `y`), in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    pub size: Size,
    pub colour: Colour,
    pub shape: Shape,
    pub x: f32,
    pub y: f32,
    pub radius: f32,
}

/// Where the first of two objects stands, seen from the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    LeftOf,
    RightOf,
    Above,
    Below,
}

impl Relation {
    /// The same fact, told from the other object.
    pub fn mirrored(self) -> Relation {
        match self {
            Relation::LeftOf => Relation::RightOf,
            Relation::RightOf => Relation::LeftOf,
            Relation::Above => Relation::Below,
            Relation::Below => Relation::Above,
        }
    }
}

/// The relation that nobody would argue with: the boxes are apart on that axis and the
/// offset along it is at least 1.5 times the other. None when it is not that clear.
pub fn relation(a: &Object, b: &Object) -> Option<Relation> {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let apart = a.radius + b.radius + GAP;
    if dx.abs() >= apart && dx.abs() >= 1.5 * dy.abs() {
        Some(if dx > 0.0 { Relation::LeftOf } else { Relation::RightOf })
    } else if dy.abs() >= apart && dy.abs() >= 1.5 * dx.abs() {
        Some(if dy > 0.0 { Relation::Above } else { Relation::Below })
    } else {
        None
    }
}

/// True when the boxes come closer than the gap.
pub fn overlap(a: &Object, b: &Object) -> bool {
    let apart = a.radius + b.radius + GAP;
    (a.x - b.x).abs() < apart && (a.y - b.y).abs() < apart
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub background: Background,
    /// Two or three, no two of one size, no two of one colour and shape.
    pub objects: Vec<Object>,
    /// `relations[i]` is where object i stands, seen from object i + 1.
    pub relations: Vec<Relation>,
    /// For what no caption speaks of: inks, texture, grain, choice of words.
    pub seed: u64,
}

/// The first `n` scenes of a seed, no two of the same content, so that a caption
/// that names everything has one right picture.
pub fn plan(n: u32, seed: u64) -> Vec<Scene> {
    let mut told = HashSet::new();
    let distinct = |number: u32| {
        (0..)
            .map(|attempt| compose(Draw::at(seed, &[u64::from(number), attempt])))
            .find(|scene| told.insert(content(scene)))
            .expect("the attempts have no end")
    };
    (1..=n).map(distinct).collect()
}

/// What a full caption says, whichever end it starts from.
fn content(scene: &Scene) -> Vec<(Size, Colour, Shape, Option<Relation>)> {
    let tell = |objects: &mut dyn Iterator<Item = &Object>, relations: Vec<Relation>| {
        let mut relations = relations.into_iter();
        objects.map(|o| (o.size, o.colour, o.shape, relations.next())).collect::<Vec<_>>()
    };
    let forwards = tell(&mut scene.objects.iter(), scene.relations.clone());
    let mirrored = scene.relations.iter().rev().map(|r| r.mirrored()).collect();
    let backwards = tell(&mut scene.objects.iter().rev(), mirrored);
    forwards.min(backwards)
}

fn compose(mut draw: Draw) -> Scene {
    let background = draw.pick(&BACKGROUNDS);
    let kinds = kinds(&mut draw);
    loop {
        let objects: Vec<Object> = kinds.iter().map(|&kind| place(kind, &mut draw)).collect();
        let clear = objects.iter().enumerate().all(|(i, a)| objects[..i].iter().all(|b| !overlap(a, b)));
        let relations: Option<Vec<_>> = objects.windows(2).map(|pair| relation(&pair[0], &pair[1])).collect();
        if let (true, Some(relations)) = (clear, relations) {
            return Scene { background, objects, relations, seed: draw.next() };
        }
    }
}

/// Two or three kinds of object that no short name confuses.
fn kinds(draw: &mut Draw) -> Vec<(Size, Colour, Shape)> {
    let mut sizes = [Size::Small, Size::Medium, Size::Big];
    draw.shuffle(&mut sizes);
    let count = 2 + draw.below(2);
    let mut kinds: Vec<(Size, Colour, Shape)> = Vec::with_capacity(count);
    while kinds.len() < count {
        let (colour, shape) = (draw.pick(&COLOURS), draw.pick(&SHAPES));
        if kinds.iter().all(|&(_, c, s)| (c, s) != (colour, shape)) {
            kinds.push((sizes[kinds.len()], colour, shape));
        }
    }
    kinds
}

fn place((size, colour, shape): (Size, Colour, Shape), draw: &mut Draw) -> Object {
    let (low, high) = size.radii();
    let radius = draw.between(low, high);
    let reach = FIELD / 2.0 - radius;
    let x = WIDTH as f32 / 2.0 + draw.between(-reach, reach);
    let y = HEIGHT as f32 / 2.0 + draw.between(-reach, reach);
    Object { size, colour, shape, x, y, radius }
}
