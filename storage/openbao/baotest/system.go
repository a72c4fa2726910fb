package baotest

import (
	"net/http"
	"strings"
)

// health answers anybody, sealed or not.
func (s *Server) health() answer {
	a := answer{status: http.StatusOK, raw: map[string]any{"initialized": true, "sealed": s.sealed, "standby": s.sealed,
		"performance_standby": false, "replication_performance_mode": "disabled", "replication_dr_mode": "disabled",
		"server_time_utc": s.now().Unix(), "version": "2.0.0-HEAD", "cluster_name": "vault-cluster-test",
		"cluster_id": "8b2a6c1e-0000-0000-0000-000000000000"}}
	if s.sealed {
		a.status = http.StatusServiceUnavailable
	}
	return a
}

// system answers what is under sys/.
func (s *Server) system(r *request, here *namespace, path string) answer {
	head, name, _ := strings.Cut(path, "/")
	writes := r.operation == "create" || r.operation == "update"
	switch {
	case path == "seal" && writes:
		s.sealed = true
		return nothing()
	case head == "mounts" && writes:
		return mount(here, name, r)
	case head == "auth" && writes:
		return mountAuth(here, name, r)
	case head == "namespaces" && writes:
		s.namespaces[r.namespace+name+"/"] = newNamespace()
		return ok(map[string]any{"id": random()[:6], "path": r.namespace + name + "/", "custom_metadata": map[string]any{}})
	case strings.HasPrefix(path, "policies/acl/") && writes:
		p, err := readPolicy(r.text("policy"))
		if err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
		here.policies[strings.TrimPrefix(path, "policies/acl/")] = p
		return nothing()
	case strings.HasPrefix(path, "internal/ui/mounts/") && r.operation == "read":
		at := strings.TrimPrefix(path, "internal/ui/mounts/") + "/"
		if at, e := here.mounted(at); e != nil {
			options := map[string]any(nil)
			if e.kind() == "kv" {
				options = map[string]any{"version": "2"}
			}
			return ok(map[string]any{"path": at, "type": e.kind(), "options": options})
		}
		return denied()
	}
	return refuse(http.StatusMethodNotAllowed, "unsupported operation")
}

func mount(here *namespace, name string, r *request) answer {
	options, _ := r.body["options"].(map[string]any)
	if _, taken := here.mounts[name+"/"]; taken {
		return refuse(http.StatusBadRequest, "path is already in use at "+name+"/")
	}
	switch kind := r.text("type"); {
	case kind == "kv-v2", kind == "kv" && options["version"] == "2":
		here.mounts[name+"/"] = newKV()
	case kind == "transit":
		here.mounts[name+"/"] = transit{}
	default:
		return refuse(http.StatusBadRequest, "plugin not found in the catalog: "+kind)
	}
	return nothing()
}

func mountAuth(here *namespace, name string, r *request) answer {
	if _, taken := here.auths[name+"/"]; taken {
		return refuse(http.StatusBadRequest, "path is already in use at "+name+"/")
	}
	switch kind := r.text("type"); kind {
	case "jwt":
		here.auths[name+"/"] = newJWT()
	case "kubernetes":
		here.auths[name+"/"] = newKubernetes()
	default:
		return refuse(http.StatusBadRequest, "plugin not found in the catalog: "+kind)
	}
	return nothing()
}
