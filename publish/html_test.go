package publish

import (
	"html/template"
	"testing"
)

func TestTextOfOthersIsEscapedAsTheStandardLibraryDoes(t *testing.T) {
	for _, s := range []string{"", "plain", `<script>alert("x")</script>`, "O'Neil & Sons", `" onload=x`, "ü € 😀", "a\x00b", "&&<<"} {
		var h html
		h.text(s)
		if got, want := string(h), template.HTMLEscapeString(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

func TestNumbersAreGroupedByThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -45678: "-45,678"} {
		var h html
		if h.number(n); string(h) != want {
			t.Errorf("%d: got %s, want %s", n, h, want)
		}
	}
}

func TestPercentagesAreRoundedHalfUp(t *testing.T) {
	for _, c := range []struct {
		part, whole int64
		want        string
	}{{0, 0, "–"}, {0, 5, "0.0%"}, {5, 5, "100.0%"}, {1, 3, "33.3%"}, {2, 3, "66.7%"}, {1, 2000, "0.1%"}, {1, 2001, "0.0%"}, {80_000_000, 160_000_001, "50.0%"}} {
		var h html
		if h.percent(c.part, c.whole); string(h) != c.want {
			t.Errorf("%d of %d: got %s, want %s", c.part, c.whole, h, c.want)
		}
	}
}
