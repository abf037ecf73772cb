// Package prove holds the second implementation of the verifier: JavaScript
// without a build step, which the results pages run to prove what they show, and
// node runs to count a whole night again.
package prove

import (
	"embed"
	"fmt"
	"regexp"
	"sync"

	"tallystream/schemas"
)

//go:embed *.js
var modules embed.FS

// Page is the module that results pages load.
const Page = "page.js"

// Asset is a module as it is published: named by its content, so that no page
// ever runs parts of two versions.
type Asset struct {
	Name string // page.js
	Key  string // assets/ab/<sha256>.js
	Body []byte
}

// Assets lists the module that pages load and all that it needs. A published
// module imports others by their keys, which are paths beside its own; that is the
// only difference to the files here. Nobody may change them.
func Assets() ([]Asset, error) { return linked() }

// linked links once: the modules are part of the program.
var linked = sync.OnceValues(func() ([]Asset, error) {
	l := linker{keys: map[string]string{}}
	if err := l.link(Page); err != nil {
		return nil, fmt.Errorf("linking the pages' proof: %w", err)
	}
	return l.assets, nil
})

// linker names modules after those that they import.
type linker struct {
	assets []Asset
	keys   map[string]string // by name; "" while its imports are linked
}

// imports are written in one way, at the beginning of a line.
var imports = regexp.MustCompile(`(?m)^(import [^"]* from )"\./([a-z]+\.js)";$`)

func (l *linker) link(name string) error {
	if key, begun := l.keys[name]; begun {
		if key == "" {
			return fmt.Errorf("%s imports itself", name)
		}
		return nil
	}
	l.keys[name] = ""
	b, err := modules.ReadFile(name)
	if err != nil {
		return err
	}
	for _, m := range imports.FindAllSubmatch(b, -1) {
		if err := l.link(string(m[2])); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	b = imports.ReplaceAllFunc(b, func(line []byte) []byte {
		m := imports.FindSubmatch(line)
		return fmt.Appendf(nil, "%s\"../%s\";", m[1], l.keys[string(m[2])][len("assets/"):])
	})
	a := Asset{Name: name, Key: schemas.ContentKey("assets", schemas.DigestOf(b), ".js"), Body: b}
	l.assets, l.keys[name] = append(l.assets, a), a.Key
	return nil
}
