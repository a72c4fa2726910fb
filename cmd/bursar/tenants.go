package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) tenantCommand() *cobra.Command {
	return group("tenant", "Look at tenants", p.tenantListCommand(), p.tenantShowCommand())
}

func (p *program) tenantListCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command("list", "List the tenants", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		client, err := conn.open()
		if err != nil {
			return err
		}
		tenants, err := client.Tenants(ctx)
		if err != nil {
			return err
		}
		return show(p, *asJSON, tenants, "TENANT ISSUER CREATED", func(t operator.TenantEntry) []string {
			return []string{t.Tenant, t.Issuer, stamp(t.Created)}
		})
	})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}

func (p *program) tenantShowCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command("show TENANT", "Show one tenant", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		client, err := conn.open()
		if err != nil {
			return err
		}
		t, err := client.Tenant(ctx, args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return p.printJSON(t)
		}
		return p.table("TENANT "+t.Tenant, [][]string{
			{"issuer", t.Issuer},
			{"created", stamp(t.Created)},
			{"revision", strconv.FormatInt(t.Revision, 10)},
			{"disabled", strconv.FormatBool(t.Disabled)},
			{"issuers", strconv.Itoa(t.Counts.Issuers)},
			{"clients", strconv.Itoa(t.Counts.Clients)},
			{"tools", strconv.Itoa(t.Counts.Tools)},
			{"policies", strconv.Itoa(t.Counts.Policies)},
			{"cutoffs", strconv.Itoa(t.Counts.Cutoffs)},
			{"events", strconv.FormatInt(t.Counts.Events, 10)},
		})
	})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}

// objectCommand reads one kind of object of a tenant's configuration.
func (p *program) objectCommand(kind operator.Kind, more ...*cobra.Command) *cobra.Command {
	what := map[operator.Kind]string{
		operator.KindIssuer: "the trusted issuers", operator.KindClient: "the clients",
		operator.KindTool: "the tools", operator.KindPolicy: "the policies",
	}[kind]
	commands := append([]*cobra.Command{p.objectListCommand(kind), p.objectShowCommand(kind)}, more...)
	return group(string(kind), "Look at "+what+" of a tenant", commands...)
}

// columns are what a list shows of each kind, besides the id: members of the object.
var columns = map[operator.Kind][]string{
	operator.KindIssuer: {"kind", "issuer", "use"},
	operator.KindClient: {"kind", "auth.method", "tools"},
	operator.KindTool:   {"resource", "actions"},
	operator.KindPolicy: {"clients", "tool", "actions", "ttl"},
}

func (p *program) objectListCommand(kind operator.Kind) *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command("list TENANT", "List them", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		client, err := conn.open()
		if err != nil {
			return err
		}
		objects, err := client.Objects(ctx, args[0], kind)
		if err != nil {
			return err
		}
		heads := string(kind) + " " + strings.Join(columns[kind], " ")
		return show(p, *asJSON, objects, strings.ToUpper(heads), func(raw json.RawMessage) []string {
			var object map[string]any
			_ = json.Unmarshal(raw, &object) // an object of another shape shows as empty cells
			name, _ := object["name"].(string)
			id, _ := object["id"].(string)
			row := []string{cmp.Or(id, name)}
			for _, path := range columns[kind] {
				row = append(row, cell(object, path))
			}
			return row
		})
	})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}

// cell returns the member at a dotted path as text.
func cell(object map[string]any, path string) string {
	head, rest, deeper := strings.Cut(path, ".")
	switch v := object[head].(type) {
	case nil:
		return ""
	case map[string]any:
		if deeper {
			return cell(v, rest)
		}
		return "…"
	case []any:
		words := make([]string, len(v))
		for i, item := range v {
			words[i] = fmt.Sprint(item)
		}
		return strings.Join(words, ",")
	default:
		return fmt.Sprint(v)
	}
}

func (p *program) objectShowCommand(kind operator.Kind) *cobra.Command {
	var conn *connection
	var asJSON *bool
	use := fmt.Sprintf("show TENANT/%s", strings.ToUpper(string(kind)))
	cmd := command(use, "Show one as it stands in a tenant file", cobra.RangeArgs(1, 2),
		func(ctx context.Context, args []string) error {
			tenant, id, err := pair(args)
			if err != nil {
				return err
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			object, err := client.Object(ctx, tenant, operator.Ref{Kind: kind, ID: id})
			if err != nil {
				return err
			}
			if *asJSON {
				return p.printJSON(object)
			}
			return p.printYAML(object)
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}

// printYAML writes a JSON value as YAML, its members in the order that they have. Characters that a terminal obeys are
// escaped by YAML itself.
func (p *program) printYAML(raw json.RawMessage) error {
	var node yaml.Node
	if err := yaml.Unmarshal(raw, &node); err != nil { // JSON is YAML
		return fmt.Errorf("read the answer: %w", err)
	}
	plain(&node)
	enc := yaml.NewEncoder(p.out)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return err
	}
	return enc.Close()
}

// plain takes away the style of JSON, so that YAML is written as people write it.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plain(child)
	}
}

// pair reads "TENANT/ID", or the two as separate words.
func pair(args []string) (tenant, id string, err error) {
	if len(args) == 2 {
		return args[0], args[1], nil
	}
	tenant, id, ok := strings.Cut(args[0], "/")
	if !ok || tenant == "" || id == "" {
		return "", "", usage("write the tenant and the name, as in acme/ap-bot")
	}
	return tenant, id, nil
}
