-- What kstatus, and so Flux, says of the object, in Argo CD's words.
if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "Pending deletion"}
end
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function is(type, value)
  return conditions[type] ~= nil and conditions[type].status == value
end
local ready = conditions.Ready
if ready == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "cloud-image-operator has not dealt with the present spec yet"}
end
local health = "Progressing"
if is("Stalled", "True") then
  health = "Degraded"
elseif is("Ready", "True") and not is("Reconciling", "True") then
  health = "Healthy"
elseif ready.reason == "Suspended" then
  health = "Suspended"
end
return {status = health, message = ready.message}
