"""The one table of numbers that the checks here use, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Counts are of words; where a script is written without spaces, of characters where the name says so."""

    # truncated
    open_sentence_words: int = (
        28  # one sentence without an end this long was cut; short captions often have no full stop
    )
    open_sentence_chars: int = 60  # the same for Chinese characters

    # repetitive
    same_word_run: int = 5  # "very very very very" is emphasis, five in a row are a loop
    pair_repeats: int = 4  # "again and again and again" is 2.5 times a pair
    phrase_repeats: int = 3  # three words or more, three times in a row
    sentence_words: int = 6  # this many words said twice in a row, or as two whole sentences, are a loop
    sentence_chars: int = 9  # the same for Chinese characters
    list_items: int = 6  # lists shorter than this are not looked at
    list_repeated_share: float = 0.4  # of the items of a list; "a man, a dog, a man" happens in good captions
    repeated_share: float = 0.35  # of three-word runs that were said before; good long captions stay under 0.2
    repeated_share_words: int = 20  # shares say nothing of shorter texts
    character_run: int = 6  # "!!!!!!" and "hahahahahaha"; "..." and "------" as a rule of three are fine

    # short
    caption_words: int = 3  # "A dog runs." is a caption, "A dog." is not
    caption_chars: int = 4  # Chinese
    detailed_words: int = 8  # when detail was asked for
    detailed_chars: int = 12
    explanation_words: int = 2  # an answer to "why" or "describe"

    # leak and echo
    copied_words: int = 4  # an instruction shorter than this may stand in an answer by chance
    copied_chars: int = 6
    echo_share: float = 0.8  # of the question's and the answer's words together that both have

    # wrong_language
    foreign_script_share: float = 0.15  # of letters outside quotes; names and signs of other scripts stay below
    own_script_share: float = 0.5  # of words in the script of the language asked for, when that is not Latin
    stop_word_share: float = 0.12  # English text has more than twice as many; below, other languages are looked at
    language_words: int = 5  # fewer words do not tell a language
    detector_words: int = 8  # nor do so few to the detector
    detector_confidence: float = 0.99

    # subtitle_copy
    copied_share: float = 0.6  # of the words outside reported speech that follow the subtitles
    copied_run: int = 4  # words in a row that count as following; fewer meet by chance
    copied_run_chars: int = 5
    quoted_words: int = 25  # a quotation this long with hardly anything beside it is the subtitles themselves
    quoted_share: float = 0.8

    # noise
    symbol_share: float = 0.3  # of characters that are neither letters, digits, marks nor spaces
    symbol_share_chars: int = 12  # shares say nothing of shorter texts

    # duplicate
    duplicate_clips: int = 5  # the same text for this many clips of a run
    common_share: float = 0.01  # a short text may be true of many clips: only above this share of the run's clips
    common_words: int = 10  # what counts as short here
    common_chars: int = 16

    def __post_init__(self) -> None:
        if self.same_word_run < 5 or self.pair_repeats < 3 or self.phrase_repeats < 2:
            raise ValueError(  # `is_repetitive` passes over texts with less than two repeated runs of three words
                "a loop is five words, three pairs or two phrases at least, got "
                f"{self.same_word_run = }, {self.pair_repeats = }, {self.phrase_repeats = }"
            )


DEFAULTS = Thresholds()
