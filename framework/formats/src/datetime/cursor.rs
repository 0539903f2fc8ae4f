//! A place in a text that is read from left to right.

#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn at_end(self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Takes `byte` if it comes next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.advance(1);
        }
        found
    }

    /// Takes `word` if it comes next, in whatever case.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.rest.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()));
        if found {
            self.advance(word.len());
        }
        found
    }

    /// Takes a sign: true for minus.
    pub(super) fn sign(&mut self) -> Option<bool> {
        let negative = match self.peek()? {
            b'-' => true,
            b'+' => false,
            _ => return None,
        };
        self.advance(1);
        Some(negative)
    }

    /// How many digits come next.
    pub(super) fn run(self) -> usize {
        self.rest.iter().take_while(|it| it.is_ascii_digit()).count()
    }

    /// Takes up to `max` digits; their value and number. `max` must be 18 at most.
    pub(super) fn digits(&mut self, max: usize) -> (i64, usize) {
        let mut value = 0;
        let mut count = 0;
        while count < max
            && let Some(digit @ b'0'..=b'9') = self.peek()
        {
            value = value * 10 + i64::from(digit - b'0');
            count += 1;
            self.advance(1);
        }
        (value, count)
    }

    /// Takes one or two digits.
    pub(super) fn two(&mut self) -> Option<u32> {
        let (value, count) = self.digits(2);
        (count > 0).then(|| u32::try_from(value).unwrap_or(0))
    }

    /// Takes the digits of a fraction of a second, as many as there are; what lies below a microsecond is cut.
    pub(super) fn micros(&mut self) -> u32 {
        let (value, count) = self.digits(6);
        self.advance(self.run());
        let scale = 10_i64.pow(u32::try_from(6 - count).unwrap_or(0));
        u32::try_from(value * scale).unwrap_or(0)
    }
}
