package main

import (
	"encoding/json"
	"fmt"
	"sort"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// These mirror the output of `tofu providers schema -json`, for one provider.
type (
	schemas struct {
		Provider    schema            `json:"provider"`
		Resources   map[string]schema `json:"resource_schemas"`
		DataSources map[string]schema `json:"data_source_schemas"`
	}
	schema struct {
		Version int64 `json:"version"`
		Block   block `json:"block"`
	}
	block struct {
		Attributes map[string]attribute `json:"attributes"`
		Blocks     map[string]nested    `json:"block_types"`
	}
	attribute struct {
		Type      json.RawMessage `json:"type"`
		Nested    *object         `json:"nested_type"`
		Required  bool            `json:"required"`
		Optional  bool            `json:"optional"`
		Computed  bool            `json:"computed"`
		Sensitive bool            `json:"sensitive"`
		WriteOnly bool            `json:"write_only"`
	}
	object struct {
		Attributes map[string]attribute `json:"attributes"`
		Nesting    string               `json:"nesting_mode"`
	}
	nested struct {
		Nesting string `json:"nesting_mode"`
		Min     int64  `json:"min_items"`
		Max     int64  `json:"max_items"`
		Block   block  `json:"block"`
	}
)

var blockNesting = map[string]tfprotov6.SchemaNestedBlockNestingMode{
	"single": tfprotov6.SchemaNestedBlockNestingModeSingle,
	"list":   tfprotov6.SchemaNestedBlockNestingModeList,
	"set":    tfprotov6.SchemaNestedBlockNestingModeSet,
	"map":    tfprotov6.SchemaNestedBlockNestingModeMap,
	"group":  tfprotov6.SchemaNestedBlockNestingModeGroup,
}

var objectNesting = map[string]tfprotov6.SchemaObjectNestingMode{
	"single": tfprotov6.SchemaObjectNestingModeSingle,
	"list":   tfprotov6.SchemaObjectNestingModeList,
	"set":    tfprotov6.SchemaObjectNestingModeSet,
	"map":    tfprotov6.SchemaObjectNestingModeMap,
}

func (s schemas) protocol() (*tfprotov6.GetProviderSchemaResponse, error) {
	answer := &tfprotov6.GetProviderSchemaResponse{
		ServerCapabilities: &tfprotov6.ServerCapabilities{GetProviderSchemaOptional: false},
	}
	var err error
	if answer.Provider, err = s.Provider.protocol(); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	if answer.ResourceSchemas, err = each(s.Resources); err != nil {
		return nil, err
	}
	answer.DataSourceSchemas, err = each(s.DataSources)
	return answer, err
}

func each(in map[string]schema) (map[string]*tfprotov6.Schema, error) {
	out := make(map[string]*tfprotov6.Schema, len(in))
	for name, s := range in {
		translated, err := s.protocol()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = translated
	}
	return out, nil
}

func (s schema) protocol() (*tfprotov6.Schema, error) {
	b, err := s.Block.protocol()
	return &tfprotov6.Schema{Version: s.Version, Block: b}, err
}

func (b block) protocol() (*tfprotov6.SchemaBlock, error) {
	attributes, err := attributesOf(b.Attributes)
	if err != nil {
		return nil, err
	}
	out := &tfprotov6.SchemaBlock{Attributes: attributes}
	for name, n := range b.Blocks {
		inner, err := n.Block.protocol()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Block: inner, Nesting: blockNesting[n.Nesting], MinItems: n.Min, MaxItems: n.Max,
		})
	}
	sort.Slice(out.BlockTypes, func(i, j int) bool { return out.BlockTypes[i].TypeName < out.BlockTypes[j].TypeName })
	return out, nil
}

func attributesOf(in map[string]attribute) ([]*tfprotov6.SchemaAttribute, error) {
	var out []*tfprotov6.SchemaAttribute
	for name, a := range in {
		translated := &tfprotov6.SchemaAttribute{
			Name: name, Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive, WriteOnly: a.WriteOnly,
		}
		if a.Nested != nil {
			inner, err := attributesOf(a.Nested.Attributes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			translated.NestedType = &tfprotov6.SchemaObject{Attributes: inner, Nesting: objectNesting[a.Nested.Nesting]}
		} else {
			t, err := tftypes.ParseJSONType(a.Type) //nolint:staticcheck // the only reader of this encoding
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			translated.Type = t
		}
		out = append(out, translated)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}
