//! Random numbers, reproducible by seed.
use fastrand::Rng;

/// Maximum number of trials that are simulated individually; beyond it, the normal approximation is good enough.
const MAX_EXACT_TRIALS: u64 = 64;
/// Maximum expected number of events that are simulated individually.
const MAX_EXACT_EVENTS: f64 = 30.0;

/// Draws from the standard normal distribution (Box and Muller).
pub(super) fn normal(rng: &mut Rng) -> f64 {
    let (u, v) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Draws the number of successful trials.
pub(super) fn binomial(rng: &mut Rng, trials: u64, chance: f64) -> u64 {
    if chance >= 1.0 {
        return trials;
    }
    if trials <= MAX_EXACT_TRIALS {
        return (0..trials).filter(|_| rng.f64() < chance).count() as u64;
    }
    let (mean, spread) = (trials as f64 * chance, (trials as f64 * chance * (1.0 - chance)).sqrt());
    ((mean + spread * normal(rng)).round().max(0.0) as u64).min(trials)
}

/// Draws the number of events, given the expected number.
pub(super) fn poisson(rng: &mut Rng, expected: f64) -> u64 {
    if expected <= 0.0 {
        return 0;
    }
    if expected > MAX_EXACT_EVENTS {
        return (expected + expected.sqrt() * normal(rng)).round().max(0.0) as u64;
    }
    let (least, mut product, mut count) = ((-expected).exp(), rng.f64(), 0);
    while product > least {
        product *= rng.f64();
        count += 1;
    }
    count
}

/// Returns a practical upper bound of the number of events: four standard deviations above the expected number, plus four.
pub(super) fn most_events(expected: f64) -> u64 {
    if expected <= 0.0 { 0 } else { (expected + 4.0 * expected.sqrt() + 4.0).ceil() as u64 }
}

#[cfg(test)]
mod tests {
    //! Tests of means, deviations and bounds.
    use super::*;

    #[test]
    fn chance_has_the_mean_that_it_should() {
        let mut rng = Rng::with_seed(1);
        let mean = |values: Vec<u64>| values.iter().sum::<u64>() as f64 / values.len() as f64;
        for (trials, chance) in [(10, 0.3), (500, 0.02), (5000, 0.9)] {
            let many: Vec<u64> = (0..4000).map(|_| binomial(&mut rng, trials, chance)).collect();
            assert!(many.iter().all(|count| *count <= trials));
            let expected = trials as f64 * chance;
            assert!((mean(many) - expected).abs() < 0.03 * expected + 0.1, "{trials} {chance}");
        }
        assert_eq!(
            (binomial(&mut rng, 9, 1.0), binomial(&mut rng, 9, 0.0), poisson(&mut rng, 0.0)),
            (9, 0, 0)
        );
        for expected in [0.2, 3.0, 80.0] {
            let many: Vec<u64> = (0..4000).map(|_| poisson(&mut rng, expected)).collect();
            assert!((mean(many) - expected).abs() < 0.05 * expected + 0.02, "{expected}");
            assert!(most_events(expected) as f64 > expected);
        }
        assert_eq!(most_events(0.0), 0);
    }
}
