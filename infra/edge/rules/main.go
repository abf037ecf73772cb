// Command rules reads a file of the edge's rules (edge.Pairs) and says what is
// wrong with it, or makes of it what an edge takes:
//
//	go run ./infra/edge/rules check rules.json       says what is wrong
//	go run ./infra/edge/rules vcl rules.json         rules.vcl for Varnish
//	go run ./infra/edge/rules puts rules.json        for aws cloudfront-keyvaluestore update-keys --puts
//	go run ./infra/edge/rules ban 2001:db8::/64      the key of a ban
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"tallystream/infra/edge"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rules:", err)
		os.Exit(1)
	}
}

func run(arguments []string, out io.Writer) error {
	if len(arguments) != 2 {
		return errors.New("want check, vcl or puts and a file of rules, or ban and an address or block")
	}
	what, of := arguments[0], arguments[1]
	if what == "ban" {
		key, err := edge.BanKey(of)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, key)
		return err
	}
	f, err := os.Open(of)
	if err != nil {
		return err
	}
	defer f.Close()
	pairs, err := edge.ReadPairs(f)
	if err != nil {
		return fmt.Errorf("%s: %w", of, err)
	}
	switch what {
	case "check":
		_, err = fmt.Fprintf(out, "%d rules are in order\n", len(pairs))
	case "vcl":
		_, err = io.WriteString(out, pairs.VCL())
	case "puts":
		err = writePuts(out, pairs)
	default:
		err = fmt.Errorf("%q: want check, vcl, puts or ban", what)
	}
	return err
}

// writePuts writes the list that update-keys takes, 50 keys of which are one
// request.
func writePuts(out io.Writer, pairs edge.Pairs) error {
	type put struct{ Key, Value string }
	list := []put{}
	for key, value := range pairs {
		list = append(list, put{key, value})
	}
	slices.SortFunc(list, func(a, b put) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	const most = 50
	for chunk := range slices.Chunk(list, most) {
		b, err := json.Marshal(chunk)
		if err != nil {
			return fmt.Errorf("writing rules: %w", err)
		}
		if _, err := fmt.Fprintf(out, "%s\n", b); err != nil {
			return err
		}
	}
	return nil
}
