package main

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"tallystream/service"
)

// A bill of materials as CycloneDX 1.6 has it
// (https://cyclonedx.org/docs/1.6/json/), with the fields that a Go program
// fills. No serial number and no time: they would differ in each build.
type bill struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// billOf lists the modules that are linked into a program, and the Go release
// whose standard library is. It is what the linker wrote into the binary, not
// what go.mod would allow.
func billOf(info *debug.BuildInfo, arch string, release service.Release) ([]byte, error) {
	if info.GoVersion == "" || info.Path == "" {
		return nil, fmt.Errorf("listing what the program is made of: it has no build information")
	}
	b := bill{Format: "CycloneDX", Spec: "1.6", Version: 1}
	main := component{Type: "application", Name: info.Path, Version: string(release), Ref: info.Path + "@" + string(release)}
	for _, s := range info.Settings {
		if slices.Contains([]string{"CGO_ENABLED", "GOARCH", "GOOS", "GOAMD64", "GOARM64", "-trimpath"}, s.Key) {
			main.Properties = append(main.Properties, property{"go:" + s.Key, s.Value})
		}
	}
	b.Metadata.Component = main
	std := strings.TrimPrefix(info.GoVersion, "go")
	b.Components = []component{{Type: "library", Name: "std", Version: std, Ref: "pkg:golang/std@" + std, PURL: "pkg:golang/std@" + std}}
	for _, m := range info.Deps {
		used := m
		if m.Replace != nil {
			used = m.Replace
		}
		c := component{Type: "library", Name: used.Path, Version: used.Version, PURL: "pkg:golang/" + used.Path + "@" + used.Version}
		c.Ref = c.PURL
		if used.Sum != "" {
			c.Properties = []property{{"go:sum", used.Sum}}
		}
		b.Components = append(b.Components, c)
	}
	slices.SortFunc(b.Components, func(x, y component) int { return strings.Compare(x.Ref, y.Ref) })
	all := dependency{Ref: main.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	b.Dependencies = []dependency{all}
	out, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("listing what the program for %s is made of: %w", arch, err)
	}
	return append(out, '\n'), nil
}
