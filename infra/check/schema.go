package check

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"sort"
)

// Schema is what a provider accepts, as `tofu providers schema -json` prints it
// for one provider.
type Schema struct {
	Provider    SchemaOf            `json:"provider"`
	Resources   map[string]SchemaOf `json:"resource_schemas"`
	DataSources map[string]SchemaOf `json:"data_source_schemas"`
}

// SchemaOf is the schema of a resource, a data source or the provider itself.
type SchemaOf struct {
	Version int64       `json:"version"`
	Block   BlockSchema `json:"block"`
}

// BlockSchema is what may stand in a block.
type BlockSchema struct {
	Attributes map[string]AttributeSchema `json:"attributes,omitempty"`
	Blocks     map[string]NestedSchema    `json:"block_types,omitempty"`
}

// AttributeSchema is one argument or computed value.
type AttributeSchema struct {
	Type      json.RawMessage `json:"type"` // cty's JSON: "string", ["set","string"], ...
	Required  bool            `json:"required,omitempty"`
	Optional  bool            `json:"optional,omitempty"`
	Computed  bool            `json:"computed,omitempty"`
	Sensitive bool            `json:"sensitive,omitempty"`
	WriteOnly bool            `json:"write_only,omitempty"`

	Deprecated bool   `json:"deprecated,omitempty"`
	Instead    string `json:"deprecation_message,omitempty"`
}

// NestedSchema is a block inside a block and how often it may be there.
type NestedSchema struct {
	Nesting string      `json:"nesting_mode"` // single, list, set, map
	Min     int         `json:"min_items,omitempty"`
	Max     int         `json:"max_items,omitempty"` // 0: any number
	Block   BlockSchema `json:"block"`
}

// ReadSchema reads a gzipped schema.
func ReadSchema(r io.Reader) (*Schema, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("reading the provider's schema: %w", err)
	}
	var s Schema
	if err := json.NewDecoder(z).Decode(&s); err != nil {
		return nil, fmt.Errorf("reading the provider's schema: %w", err)
	}
	return &s, nil
}

// Write writes the schema so that the same schema is always the same bytes.
func (s *Schema) Write(w io.Writer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(z).Encode(s); err != nil {
		return fmt.Errorf("writing the schema: %w", err)
	}
	return z.Close()
}

// Cut is the part of the schema that modules use.
func (s *Schema) Cut(modules map[string]*Module) (*Schema, error) {
	cut := &Schema{Provider: s.Provider, Resources: map[string]SchemaOf{}, DataSources: map[string]SchemaOf{}}
	for _, dir := range Dirs(modules) {
		for _, b := range modules[dir].Blocks {
			from, to := s.Resources, cut.Resources
			switch b.Kind {
			case "resource":
			case "data":
				from, to = s.DataSources, cut.DataSources
			default:
				continue
			}
			schema, ok := from[b.Type]
			if !ok {
				return nil, fmt.Errorf("%s: the provider's schema at hand has no %s %s", b.At, b.Kind, b.Type)
			}
			to[b.Type] = schema
		}
	}
	return cut, nil
}

// Describe gives `description` back to types that have it. The schema at hand was
// published "without the descriptions", and what took those away took the
// arguments of that name as well.
func (s *Schema) Describe(types ...string) error {
	for _, name := range types {
		r, ok := s.Resources[name]
		if !ok {
			return fmt.Errorf("describing %s: not in the schema", name)
		}
		attributes := map[string]AttributeSchema{"description": {Type: json.RawMessage(`"string"`), Optional: true}}
		for k, v := range r.Block.Attributes {
			attributes[k] = v
		}
		r.Block.Attributes = attributes
		s.Resources[name] = r
	}
	return nil
}

// Types are the resource types and "data " types of the schema, in order.
func (s *Schema) Types() []string {
	var out []string
	for name := range s.Resources {
		out = append(out, name)
	}
	for name := range s.DataSources {
		out = append(out, "data "+name)
	}
	sort.Strings(out)
	return out
}
