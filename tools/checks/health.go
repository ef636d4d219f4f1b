package main

import (
	"context"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// computeStatus: `kstatus <objects.json`. Prints [{"status", "message"}] as kstatus computes them.
func computeStatus([]string) (any, error) {
	return forEachObject(func(object *unstructured.Unstructured) (any, error) {
		result, err := status.Compute(object)
		if err != nil {
			return nil, err
		}
		return map[string]string{"status": string(result.Status), "message": result.Message}, nil
	})
}

// evaluateHealth: `flux KUSTOMIZATION.yaml <objects.json`, where the file has spec.healthCheckExprs. Prints [{"status"}]
// of the entry for each object's apiVersion and kind.
func evaluateHealth(arguments []string) (any, error) {
	if len(arguments) != 1 {
		return nil, fmt.Errorf("usage: checks flux KUSTOMIZATION.yaml <objects.json")
	}
	text, err := os.ReadFile(arguments[0])
	if err != nil {
		return nil, err
	}
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &kustomization); err != nil {
		return nil, err
	}
	return forEachObject(func(object *unstructured.Unstructured) (any, error) {
		for _, check := range kustomization.Spec.HealthCheckExprs {
			if check.APIVersion != object.GetAPIVersion() || check.Kind != object.GetKind() {
				continue
			}
			evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
			if err != nil {
				return nil, err
			}
			result, err := evaluator.Evaluate(context.Background(), object)
			if err != nil {
				return nil, err
			}
			return map[string]string{"status": string(result.Status)}, nil
		}
		return nil, fmt.Errorf("no expressions for %s %s", object.GetAPIVersion(), object.GetKind())
	})
}

// runLua: `lua CONFIGMAP.yaml <objects.json`, where the file is as Argo CD's argocd-cm. Prints the table that the script
// for each object's kind returns, run with the libraries that Argo CD opens.
func runLua(arguments []string) (any, error) {
	if len(arguments) != 1 {
		return nil, fmt.Errorf("usage: checks lua CONFIGMAP.yaml <objects.json")
	}
	text, err := os.ReadFile(arguments[0])
	if err != nil {
		return nil, err
	}
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	return forEachObject(func(object *unstructured.Unstructured) (any, error) {
		kind := object.GroupVersionKind()
		key := fmt.Sprintf("resource.customizations.health.%s_%s", kind.Group, kind.Kind)
		script, found := config.Data[key]
		if !found {
			return nil, fmt.Errorf("no %s", key)
		}
		return runScript(script, object.Object)
	})
}

func runScript(script string, object map[string]any) (any, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName:   lua.OpenPackage,
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
		lua.MathLibName:   lua.OpenMath,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	return fromLua(state.Get(-1)), nil
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case string:
		return lua.LString(value)
	case float64:
		return lua.LNumber(value)
	case int64:
		return lua.LNumber(value)
	case bool:
		return lua.LBool(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

func fromLua(value lua.LValue) any {
	switch value := value.(type) {
	case lua.LString:
		return string(value)
	case lua.LNumber:
		return float64(value)
	case lua.LBool:
		return bool(value)
	case *lua.LTable:
		if length := value.Len(); length > 0 {
			list := make([]any, 0, length)
			for index := 1; index <= length; index++ {
				list = append(list, fromLua(value.RawGetInt(index)))
			}
			return list
		}
		table := map[string]any{}
		value.ForEach(func(key, item lua.LValue) { table[key.String()] = fromLua(item) })
		return table
	default:
		return nil
	}
}
