//! Each check, on each model of the command and on the example of one from outside.

use battery::{abilities, gradients, likelihood, on_every_model, training};
use nn::model::Entry;

#[path = "../../../examples/own-model/src/mean_gan.rs"]
mod mean_gan;

const OTHERS: &[Entry] = &[mean_gan::ENTRY];

macro_rules! checks {
    ($($module:ident: $($check:ident)+;)+) => {
        $($(
            #[test]
            fn $check() {
                on_every_model($module::$check, OTHERS);
            }
        )+)+
    };
}

checks! {
    training:
        the_loss_begins_near_that_of_fair_coins
        the_default_loss_begins_near_that_of_fair_coins
        one_batch_can_be_overfitted
        runs_leave_the_same_bytes_on_any_threads_and_resumed
        scores_are_the_same_on_any_threads;
    gradients:
        gradients_agree_with_differences;
    likelihood:
        probabilities_sum_to_one
        coders_agree_with_scores
        dimensions_depend_on_earlier_ones
        coded_images_come_back;
    abilities:
        samples_follow_from_seed_and_number
        completions_keep_what_is_known
        codes_are_of_one_image_and_become_one
        features_are_of_one_image
        logits_are_of_one_image_and_differentiable;
}
