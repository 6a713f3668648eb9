//! Five captions of a scene: every one names all objects, no two are built alike.

use crate::draw::Draw;
use crate::scene::{Background, Colour, Object, Relation, Scene, Shape, Size};

/// The five captions; what they say is true whatever words are drawn.
pub fn captions(scene: &Scene) -> [String; 5] {
    let mut teller = Teller { scene, draw: Draw::at(scene.seed, &[1]) };
    match scene.relations[..] {
        [first] => teller.two(first),
        [first, second] => teller.three(first, second),
        _ => unreachable!("a scene has two or three objects"),
    }
}

struct Teller<'a> {
    scene: &'a Scene,
    draw: Draw,
}

impl Teller<'_> {
    fn two(&mut self, relation: Relation) -> [String; 5] {
        let ground = background(self.scene.background);
        let mirrored = relation.mirrored();
        [
            format!("{} {} {}", self.a(0), self.stands(relation), self.a(1)),
            format!("{} {} {}", self.a(1), self.stands(mirrored), self.a(0)),
            format!("{} with {} {}", self.a(1), self.a(0), beside(relation)),
            format!(
                "on a {ground} background there is {} {} {}",
                self.a(0),
                self.stands(relation),
                self.a(1)
            ),
            format!(
                "two shapes, {} and {}, the {} {} the {}",
                self.a(0),
                self.a(1),
                self.short(1),
                self.stands(mirrored),
                self.short(0)
            ),
        ]
    }

    fn three(&mut self, first: Relation, second: Relation) -> [String; 5] {
        let ground = background(self.scene.background);
        let (back, onward) = (first.mirrored(), second.mirrored());
        [
            format!(
                "{} {} {}, which is {} {}",
                self.a(0),
                self.stands(first),
                self.a(1),
                self.stands(second),
                self.a(2)
            ),
            format!(
                "{} {} {}, and {} {} the {}",
                self.a(2),
                self.stands(onward),
                self.a(1),
                self.a(0),
                self.stands(first),
                self.short(1)
            ),
            format!(
                "{} with {} {} and {} {}",
                self.a(1),
                self.a(0),
                beside(first),
                self.a(2),
                beside(onward)
            ),
            format!(
                "three shapes on a {ground} background: {}, {} and {}, the {} {} the {}",
                self.a(2),
                self.a(1),
                self.a(0),
                self.short(1),
                self.stands(back),
                self.short(0)
            ),
            format!(
                "{} {} {} and {} {}",
                self.a(1),
                self.stands(back),
                self.a(0),
                self.stands(second),
                self.a(2)
            ),
        ]
    }

    /// "a small red circle"; every size starts with a consonant.
    fn a(&mut self, object: usize) -> String {
        let size = match self.scene.objects[object].size {
            Size::Small => self.draw.pick(&["small", "little"]),
            Size::Medium => self.draw.pick(&["medium", "medium-sized"]),
            Size::Big => self.draw.pick(&["big", "large"]),
        };
        format!("a {size} {}", self.short(object))
    }

    /// "red circle": no other object of the scene answers to it.
    fn short(&self, object: usize) -> String {
        name(&self.scene.objects[object])
    }

    fn stands(&mut self, relation: Relation) -> &'static str {
        match relation {
            Relation::LeftOf => self.draw.pick(&["left of", "to the left of"]),
            Relation::RightOf => self.draw.pick(&["right of", "to the right of"]),
            Relation::Above => self.draw.pick(&["above", "over"]),
            Relation::Below => self.draw.pick(&["below", "under"]),
        }
    }
}

/// Colour and shape.
pub fn name(object: &Object) -> String {
    format!("{} {}", colour(object.colour), shape(object.shape))
}

fn beside(relation: Relation) -> &'static str {
    match relation {
        Relation::LeftOf => "to its left",
        Relation::RightOf => "to its right",
        Relation::Above => "above it",
        Relation::Below => "below it",
    }
}

fn colour(colour: Colour) -> &'static str {
    match colour {
        Colour::Red => "red",
        Colour::Orange => "orange",
        Colour::Yellow => "yellow",
        Colour::Green => "green",
        Colour::Blue => "blue",
        Colour::Purple => "purple",
        Colour::White => "white",
        Colour::Black => "black",
    }
}

fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Circle => "circle",
        Shape::Square => "square",
        Shape::Triangle => "triangle",
        Shape::Star => "star",
        Shape::Diamond => "diamond",
        Shape::Ring => "ring",
        Shape::Cross => "cross",
        Shape::Heart => "heart",
    }
}

fn background(background: Background) -> &'static str {
    match background {
        Background::Plain => "plain",
        Background::Striped => "striped",
        Background::Checkered => "checkered",
        Background::Speckled => "speckled",
        Background::Wavy => "wavy",
    }
}
