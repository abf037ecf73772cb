package openelections

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"tallystream/schemas"
)

// plain spells letters of other alphabets of the Latin script in ASCII.
var plain = strings.NewReplacer(
	"á", "a", "à", "a", "â", "a", "ä", "a", "ã", "a", "å", "a", "ā", "a", "ç", "c", "č", "c", "é", "e", "è", "e", "ê", "e", "ë", "e",
	"í", "i", "ì", "i", "î", "i", "ï", "i", "ñ", "n", "ń", "n", "ó", "o", "ò", "o", "ô", "o", "ö", "o", "õ", "o", "ø", "o", "ō", "o",
	"ś", "s", "š", "s", "ú", "u", "ù", "u", "û", "u", "ü", "u", "ū", "u", "ý", "y", "ž", "z", "ß", "ss", "æ", "ae", "œ", "oe",
)

// key is a name without case, spaces, punctuation and accents: two spellings
// with one key are one name.
func key(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, plain.Replace(strings.ToLower(s)))
}

// slug is an identifier made of a name. It is empty if the name has neither a
// letter nor a digit of ASCII.
func slug(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range plain.Replace(strings.ToLower(s)) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteRune(r)
		case r == '\'' || r == '’' || r == '.' || r == '"': // O'Brien, U.S., Dee "Mel": no gap
		default:
			gap = true
		}
	}
	return b.String()
}

// identifier is slug made fit: never empty, never too long. What it must cut
// or make up it tells apart by a hash of the name.
func identifier(s, otherwise string, longest int) string {
	id := slug(s)
	if id != "" && len(id) <= longest {
		return id
	}
	h := fnv.New32a()
	h.Write([]byte(s)) // never fails
	mark := strconv.FormatUint(uint64(h.Sum32()), 36)
	if id == "" {
		return otherwise + "-" + mark
	}
	return strings.TrimRight(id[:longest-len(mark)-1], "-") + "-" + mark
}

// Longest identifiers and parts of them; a namer may add a number.
const (
	longestID     = schemas.MaxIdentifier - 6
	longestCounty = 30
	longestPart   = longestID - longestCounty - 1
)

// namer gives out identifiers, each once: the second of a kind gets a number.
type namer map[string]int

func (n namer) take(id string) string {
	n[id]++
	if n[id] == 1 {
		return id
	}
	for {
		next := id + "-" + strconv.Itoa(n[id])
		if n[next] == 0 {
			n[next]++
			return next
		}
		n[id]++
	}
}

// collapse trims and joins white space, and takes none around a slash.
func collapse(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.ReplaceAll(strings.ReplaceAll(s, " /", "/"), "/ ", "/")
}

// withoutParty takes the party's code off the front of a candidate's name,
// where a source wrote both into one.
func withoutParty(name, party string) string {
	if party == "" {
		return name
	}
	first, rest, ok := strings.Cut(name, " ")
	// Only codes: "Green" in front of a name is a name, and "D" an initial.
	if first = strings.Trim(first, "().-"); ok && len(first) > 1 && len(first) <= 4 && (strings.EqualFold(first, party) || strings.ToUpper(first) == first && partyKey(first) == partyKey(party)) {
		return strings.TrimSpace(rest)
	}
	return name
}

// leading is the first name of a ticket: "A/B", "A & B", "A and B".
func leading(name string) string {
	for _, mark := range []string{"/", "&", " and ", " AND "} {
		if lead, _, ok := strings.Cut(name, mark); ok && strings.TrimSpace(lead) != "" {
			name = lead
		}
	}
	return strings.TrimSpace(name)
}

// wordsOf is a name's words in alphabetical order: "Roe, Jane Q." is "Jane Q Roe".
func wordsOf(name string) string {
	parts := strings.FieldsFunc(plain.Replace(strings.ToLower(name)), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\'' && r != '.'
	})
	for i := range parts {
		parts[i] = key(parts[i])
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// partyNames are the spellings of parties that sources mix, by key.
var partyNames = func() map[string]string {
	m := map[string]string{}
	for _, line := range strings.Split(`dem d democrat democratic democraticparty democrats
rep r republican republicanparty gop
lib l libertarian libertarianparty lpf lbt lbr
grn g green greenparty gre
con c constitution constitutionparty cst cpf
ind i independent unaffiliated npa nopartyaffiliation nopartypreference npp una unenrolled
non n np nop nonpartisan none`, "\n") {
		names := strings.Fields(line)
		for _, n := range names {
			m[n] = names[0]
		}
	}
	return m
}()

// partyKey is a party, whichever way it is spelled.
func partyKey(s string) string {
	k := key(s)
	if known, ok := partyNames[k]; ok {
		return known
	}
	return k
}

// withinEdits reports whether at most most letters must be inserted, deleted,
// replaced or swapped with their neighbour to turn a into b.
func withinEdits(a, b string, most int) bool {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) > most || len(y)-len(x) > most {
		return false
	}
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > most {
			return false
		}
		before, last, row = last, row, before
	}
	return last[len(y)] <= most
}

// Words of the names of administrative units: counts that belong to no place.
// One certain word is enough; of the others it takes two, since "Central" and
// "Early" are places too.
var certainWords, furtherWords = words(`failsafe provisional provisionals provision absentee absentees uocava military overseas
fwab emergency affidavit affidavits countywide unassigned curbside challenged mail mailed vbm uncounted`), words(`fail safe early advance
voting vote votes in by person ballot ballots federal paper central count limited transfer transferred one stop write ins board election
day site only and`)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// administrative reports whether a unit's name says bookkeeping and nothing
// of a place: "Failsafe Provisional", "Absentee 2", "Early Voting".
func administrative(name string) bool {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	certain, further := 0, 0
	for i, w := range parts {
		_, err := strconv.Atoi(w)
		switch {
		case certainWords[w]:
			certain++
		case furtherWords[w]:
			further++
		case err != nil || i == 0 || i != len(parts)-1:
			return false
		}
	}
	return certain > 0 || further > 1
}
