package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Pairs are the rules in force, as they stand in the key-value store:
//
//	geo          "RU KP": countries that see no results; "! US CA": all but these
//	geo.ingest   the same for the submission host
//	hops         addresses and blocks of hops whose viewers no address ban meets
//	ban/<block>  "refuse" or "decoy", for an address or block (BanKey)
//	agents       "one|two": parts of user agents that are refused, in lower case
//	decoys       the same, for a decoy
//
// A key that is missing is a rule that is not in force.
type Pairs map[string]string

// Limits of CloudFront's key-value store
// (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html).
const (
	maxPair  = 1024    // bytes of a key and its value
	maxStore = 5 << 20 // bytes of all of them
)

// The keys.
const (
	geoKey       = "geo"
	geoIngestKey = "geo.ingest"
	hopsKey      = "hops"
	agentsKey    = "agents"
	decoysKey    = "decoys"
	banPrefix    = "ban/"
)

// What a ban says.
const (
	BanRefuse = "refuse"
	BanDecoy  = "decoy"
)

// Parts of user agents: short ones would ban the world, many would cost time
// at each request.
const (
	minAgent  = 4
	maxAgents = 32
)

// ReadPairs reads the form that CloudFront imports a store from,
// {"data":[{"key":"geo","value":"RU"}]}, and checks it.
func ReadPairs(r io.Reader) (Pairs, error) {
	b, err := io.ReadAll(io.LimitReader(r, 2*maxStore))
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	var file struct {
		Data []struct {
			Key   string `json:"key"`
			Value string `json:"value"`
		} `json:"data"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("reading rules: want {\"data\":[{\"key\":...,\"value\":...}]}: %w", err)
	}
	if d.More() {
		return nil, errors.New("reading rules: there is more behind the object")
	}
	pairs := make(Pairs, len(file.Data))
	for i, one := range file.Data {
		if _, twice := pairs[one.Key]; twice {
			return nil, fmt.Errorf("reading rules: data[%d]: key %q stands twice", i, one.Key)
		}
		pairs[one.Key] = one.Value
	}
	return pairs, pairs.Check()
}

// Check says everything that is wrong with the rules at once.
func (p Pairs) Check() error {
	var problems []error
	size := 0
	for _, key := range p.keys() {
		value := p[key]
		size += len(key) + len(value)
		err := checkPair(key, value)
		if err == nil && len(key)+len(value) > maxPair {
			err = fmt.Errorf("has %d bytes with its key, want at most %d", len(key)+len(value), maxPair)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("rule %s: %w", strconv.QuoteToASCII(key), err))
		}
	}
	if size > maxStore {
		problems = append(problems, fmt.Errorf("rules have %d bytes, want at most %d", size, maxStore))
	}
	return errors.Join(problems...)
}

func (p Pairs) keys() []string {
	keys := make([]string, 0, len(p))
	for key := range p {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func checkPair(key, value string) error {
	switch key {
	case geoKey, geoIngestKey:
		return checkCountries(value)
	case hopsKey:
		for word := range strings.SplitSeq(value, " ") {
			if err := checkBlock(word); err != nil {
				return err
			}
		}
		return nil
	case agentsKey, decoysKey:
		return checkAgents(value)
	}
	block, ok := strings.CutPrefix(key, banPrefix)
	if !ok {
		return errors.New("is no rule: want geo, geo.ingest, hops, agents, decoys or ban/<block>")
	}
	if value != BanRefuse && value != BanDecoy {
		return fmt.Errorf("says %q, want %s or %s", value, BanRefuse, BanDecoy)
	}
	return checkBlock(block)
}

// checkCountries wants ISO 3166 codes with single spaces between, as the
// function splits them.
func checkCountries(value string) error {
	words := strings.Split(value, " ")
	if words[0] == "!" {
		words = words[1:]
	}
	if len(words) == 0 {
		return errors.New("closes every country: behind the ! want those that stay open")
	}
	for _, w := range words {
		if len(w) != 2 || w[0] < 'A' || w[0] > 'Z' || w[1] < 'A' || w[1] > 'Z' {
			return fmt.Errorf("country %q: want two capital letters, and one space between two", w)
		}
	}
	return nil
}

func checkAgents(value string) error {
	parts := strings.Split(value, "|")
	if len(parts) > maxAgents {
		return fmt.Errorf("has %d parts, want at most %d", len(parts), maxAgents)
	}
	for _, part := range parts {
		if len(part) < minAgent {
			return fmt.Errorf("part %q: want %d bytes or more, or it meets everybody", part, minAgent)
		}
		for _, c := range []byte(part) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(" ./;:_()+-", c) < 0 {
				return fmt.Errorf("part %q: want lower-case letters, digits and \" ./;:_()+-\"", part)
			}
		}
	}
	return nil
}

func checkBlock(block string) error {
	want, err := blockName(block)
	if err != nil {
		return err
	}
	if want != block {
		return fmt.Errorf("block %q: write %q, which is how the function looks it up", block, want)
	}
	return nil
}

// BanKey is the key under which a ban of an address or block stands, from any
// spelling of it. There are IPv4 addresses, /24 and /16; IPv6 addresses, /64 and
// /48: a function looks up whole keys only.
func BanKey(block string) (string, error) {
	name, err := blockName(block)
	return banPrefix + name, err
}

func blockName(block string) (string, error) {
	if a, err := netip.ParseAddr(block); err == nil && a.Zone() == "" && !a.Is4In6() {
		if a.Is4() {
			return a.String(), nil
		}
		return groups(a, 8), nil
	}
	b, err := netip.ParsePrefix(block)
	if err != nil {
		return "", fmt.Errorf("%q is no address and no block of addresses", block)
	}
	if b != b.Masked() {
		return "", fmt.Errorf("block %q begins at %s", block, b.Masked())
	}
	switch a, bits := b.Addr(), b.Bits(); {
	case a.Is4() && (bits == 24 || bits == 16):
		return b.String(), nil
	case a.Is6() && !a.Is4In6() && (bits == 64 || bits == 48):
		return groups(a, bits/16) + "::/" + strconv.Itoa(bits), nil
	}
	return "", fmt.Errorf("block %q: want an address, IPv4 /24 or /16, IPv6 /64 or /48", block)
}

// groups are the first n groups of an IPv6 address, none left out.
func groups(a netip.Addr, n int) string {
	b := a.As16()
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.FormatUint(uint64(b[2*i])<<8|uint64(b[2*i+1]), 16)
	}
	return strings.Join(out, ":")
}
