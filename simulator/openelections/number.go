package openelections

import (
	"strconv"
	"strings"

	"tallystream/schemas"
)

// number is a count as a cell of the CSV has it.
type number struct {
	n      schemas.Count
	blank  bool
	unique bool // spelled in the usual way: digits alone
}

// parseCount reads a count. Empty is none. Thousands separators and a decimal
// part of zeros are unusual and say one thing only; everything else is an
// error, whose text says what was expected.
func parseCount(s string) (number, string) {
	s = strings.TrimSpace(s)
	if s == "" {
		return number{blank: true, unique: true}, ""
	}
	digits := s
	if whole, part, ok := strings.Cut(digits, "."); ok && len(whole) > 0 && len(part) > 0 && strings.Trim(part, "0") == "" {
		digits = whole
	}
	if strings.Contains(digits, ",") {
		groups := strings.Split(digits, ",")
		for i, g := range groups {
			if len(g) != 3 && (i > 0 || len(g) == 0 || len(g) > 3) {
				return number{}, wanted(s)
			}
		}
		digits = strings.Join(groups, "")
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return number{}, wanted(s)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > uint64(schemas.MaxCount) {
		return number{}, wanted(s)
	}
	return number{n: schemas.Count(n), unique: digits == s}, ""
}

func wanted(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return strconv.QuoteToASCII(s) + ": want a whole number from 0 to " + strconv.Itoa(int(schemas.MaxCount))
}
