//! BPF instructions (seccomp(2), bpf(4)), and how a filter finds the rule of a call.
use seccompiler::{BpfProgram, sock_filter};
use std::collections::BTreeMap;

/// The rule of each call, by its number.
#[derive(Debug, Default)]
pub(super) struct FilterTable(BTreeMap<u32, FilterAnswer>);

/// The rule of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FilterAnswer {
    /// This result, whatever its arguments are.
    Always(u32),
    /// These instructions, which return a result on each path.
    Judged(BpfProgram),
}

impl FilterTable {
    /// Sets the result of a call. The first rule of a call wins.
    pub(super) fn always(&mut self, call: i64, what: u32) {
        self.add(call, FilterAnswer::Always(what));
    }

    /// Sets the instructions that judge a call by its arguments; they must return on each path.
    pub(super) fn judged(&mut self, call: i64, body: BpfProgram) {
        self.add(call, FilterAnswer::Judged(body));
    }

    fn add(&mut self, call: i64, answer: FilterAnswer) {
        let number = u32::try_from(call).expect("numbers of calls are small");
        self.0.entry(number).or_insert(answer);
    }

    /// Returns the instructions that find a call's rule, once its number is loaded. `others`: the result of all calls not in
    /// the table. `foreign`: the first number of another ABI, and the result of all calls from there on.
    ///
    /// When a filter is installed, the kernel evaluates it for each call number to cache the results; later it runs it again
    /// for each call that is judged by its arguments. So the filter is short, and a binary search tree.
    pub(super) fn tree(self, others: u32, foreign: (u32, u32)) -> BpfProgram {
        let mut ranges: Vec<(u32, FilterAnswer)> = Vec::with_capacity(2 * self.0.len() + 2);
        let mut add = |first: u32, answer: FilterAnswer| match ranges.last() {
            Some((_, last)) if *last == answer => {}
            _ => ranges.push((first, answer)),
        };
        let mut next = 0;
        for (number, answer) in self.0 {
            if next < number {
                add(next, FilterAnswer::Always(others));
            }
            add(number, answer);
            next = number + 1;
        }
        add(next, FilterAnswer::Always(others));
        add(foreign.0, FilterAnswer::Always(foreign.1));
        let mut tree = Tree { reversed: Vec::with_capacity(512), answers: Vec::new() };
        let top = tree.find(&ranges);
        tree.lead_to(top);
        tree.reversed.reverse();
        tree.reversed
    }
}

/// A tree of comparisons, built from its end: jumps only lead forward, and their targets must exist.
struct Tree {
    reversed: BpfProgram,
    /// Results that are already in the program, each with its position as counted by [`Self::find`].
    answers: Vec<(u32, usize)>,
}

impl Tree {
    /// Adds the search for a number, until one range is left; each range begins at its number. Returns its position, counted
    /// from the end.
    fn find(&mut self, ranges: &[(u32, FilterAnswer)]) -> usize {
        match ranges {
            [(_, FilterAnswer::Always(what))] => self.always(*what),
            [(_, FilterAnswer::Judged(body))] => {
                self.reversed.extend(body.iter().rev().cloned());
                self.reversed.len() - 1
            }
            _ => {
                let (below, above) = ranges.split_at(ranges.len() / 2);
                let first = above[0].0;
                let (above, below) = (self.find(above), self.find(below));
                let (above, below) = self.near(above, below);
                let past = |place: usize| u8::try_from(self.reversed.len() - 1 - place).expect("it is near");
                let comparison = jump(Test::AtLeast, first, past(above), past(below));
                self.push(comparison)
            }
        }
    }

    /// Returns the position of a result: an earlier one, if a single instruction can jump to it.
    fn always(&mut self, what: u32) -> usize {
        let known = self.answers.iter().rev().find(|(known, _)| *known == what);
        if let Some((_, place)) = known.filter(|(_, place)| self.reversed.len() - place < MAX_JUMP) {
            return *place;
        }
        let place = self.push(answer(what));
        self.answers.push((what, place));
        place
    }

    /// Returns positions for both targets that one comparison can jump to.
    fn near(&mut self, above: usize, below: usize) -> (usize, usize) {
        // a jump to one of them moves the other one further away
        let reach = |tree: &Self, place: usize| tree.reversed.len() - place < MAX_JUMP;
        let above = if reach(self, above) { above } else { self.lead_to(above) };
        let below = if reach(self, below) { below } else { self.lead_to(below) };
        (above, below)
    }

    /// Adds a jump to a position, unless it comes next anyway.
    fn lead_to(&mut self, place: usize) -> usize {
        let count = u32::try_from(self.reversed.len() - 1 - place).expect("filters are short");
        match count {
            0 => place,
            _ => self.push(instruction(libc::BPF_JMP | libc::BPF_JA, count, 0, 0)),
        }
    }

    fn push(&mut self, one: sock_filter) -> usize {
        self.reversed.push(one);
        self.reversed.len() - 1
    }
}

/// Maximum distance of a conditional jump: offsets have 8 bits, with some room for jumps inserted between.
const MAX_JUMP: usize = 250;

/// A field of `struct seccomp_data`.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Number,
    Architecture,
    /// The lower half: each argument that is judged here has 32 bits, and the kernel ignores the rest.
    Argument(u8),
}

#[derive(Clone, Copy)]
pub(super) enum Test {
    Equal,
    AtLeast,
    AnySet,
}

pub(super) fn load(field: Field) -> sock_filter {
    let at = match field {
        Field::Number => 0,
        Field::Architecture => 4,
        Field::Argument(number) => 16 + 8 * u32::from(number),
    };
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0)
}

pub(super) fn and(bits: u32) -> sock_filter {
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits, 0, 0)
}

pub(super) fn answer(what: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, what, 0, 0)
}

pub(super) fn jump(test: Test, value: u32, if_so: u8, if_not: u8) -> sock_filter {
    let test = match test {
        Test::Equal => libc::BPF_JEQ,
        Test::AtLeast => libc::BPF_JGE,
        Test::AnySet => libc::BPF_JSET,
    };
    instruction(libc::BPF_JMP | test | libc::BPF_K, value, if_so, if_not)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("codes are of 16 bits"), jt, jf, k }
}

#[cfg(test)]
pub(super) use tests::run;

#[cfg(test)]
mod tests {
    //! The machine of the kernel, as far as filters use it; and trees that it walks.
    use super::*;

    /// What a filter answers to a call, and after how many instructions.
    pub(in crate::sandbox) fn run(
        program: &[sock_filter],
        architecture: u32,
        call: i64,
        args: &[u64],
    ) -> (u32, usize) {
        let word = |at: u32| match at {
            0 => call as u32,
            4 => architecture,
            at => args.get(((at - 16) / 8) as usize).copied().unwrap_or(0) as u32,
        };
        let (mut at, mut value) = (0usize, 0u32);
        for count in 1.. {
            let one = &program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { one.jt } else { one.jf });
            match u32::from(one.code) {
                0x05 => at += one.k as usize,
                0x20 => value = word(one.k),
                0x54 => value &= one.k,
                0x06 => return (one.k, count),
                0x15 => at += jump(value == one.k),
                0x35 => at += jump(value >= one.k),
                0x45 => at += jump(value & one.k != 0),
                other => panic!("{other:#x}"),
            }
        }
        unreachable!("a filter ends")
    }

    #[test]
    fn each_number_gets_what_was_said_of_it_first_in_a_few_steps() {
        let said = |number: u32| if number.is_multiple_of(3) { 1000 + number / 9 } else { 7 };
        for (most, stride) in [(0, 1), (1, 1), (2, 1), (40, 3), (600, 1), (900, 3)] {
            let mut answers = FilterTable::default();
            for number in (0..most).step_by(stride) {
                // some are judged, by so much that others are too far for one instruction
                match number % 4 {
                    0 => answers.always(number.into(), said(number)),
                    others => {
                        let mut body = vec![and(u32::MAX); others as usize * 3];
                        body.push(answer(said(number)));
                        answers.judged(number.into(), body);
                    }
                }
                answers.always(number.into(), 0);
            }
            let mut program = vec![load(Field::Number)];
            program.extend(answers.tree(7, (5000, 9)));
            for number in 0..6000 {
                let is_said = number < most && number.is_multiple_of(stride as u32);
                let wanted = match number {
                    5000.. => 9,
                    _ if is_said => said(number),
                    _ => 7,
                };
                let (found, steps) = run(&program, 0, number.into(), &[]);
                assert_eq!(found, wanted, "{number} of {most}");
                assert!(steps <= 30, "{number} of {most}: {steps}");
            }
        }
    }
}
