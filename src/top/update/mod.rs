//! How an input changes the state, and which effects follow. Pure.
//!
//! An event never carries state into the screen: it marks what to ask for again. So an event that is lost, duplicated
//! or late does no harm.
mod acting;
mod due;
mod hear;
mod input;
mod press;
mod take;
mod wheel;

pub(super) use acting::{ANSWERS, question_lines};
pub(super) use due::next_look;
pub(super) use input::{TopEffect, TopInput};

use super::model::TopModel;
use super::moment::TopMoment;

/// Applies an input to the state, and returns the effects to carry out.
pub(super) fn update(model: &mut TopModel, moment: TopMoment, input: TopInput) -> Vec<TopEffect> {
    model.moment = moment;
    let mut effects = match input {
        TopInput::Key(key) => press::press(model, key),
        TopInput::Resized(width, height) => {
            model.size = (width, height);
            model.arrange(true);
            Vec::new()
        }
        TopInput::Tick => {
            due::tick(model);
            Vec::new()
        }
        TopInput::Heard(heard) => {
            hear::hear(model, heard);
            Vec::new()
        }
        TopInput::Replied(reply) => {
            take::take(model, *reply);
            Vec::new()
        }
        TopInput::Acted(result) => {
            model.say(result.unwrap_or_else(|error| error));
            Vec::new()
        }
    };
    acting::void_stale_question(model);
    effects.extend(due::asks(model).into_iter().map(TopEffect::Ask));
    effects
}
