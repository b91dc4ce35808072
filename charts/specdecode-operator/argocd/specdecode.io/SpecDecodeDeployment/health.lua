-- What a rolled-back deployment that serves is called. "Healthy" keeps the message: for where somebody is told of
-- rollbacks by other means, for example by the alert SpecDecodeRolledBack.
local when_rolled_back = "Degraded"

local function health(status, message)
  return {status = status, message = message}
end

-- Conditions by type. One that is missing, or that a newer operator writes, must not break the others.
local function conditions_of(status)
  local found = {}
  if type(status.conditions) == "table" then
    for _, condition in ipairs(status.conditions) do
      if type(condition) == "table" and condition.type ~= nil then
        found[condition.type] = condition
      end
    end
  end
  return setmetatable(found, {__index = function() return {} end})
end

local function said(condition)
  if condition.message ~= nil and condition.message ~= "" then
    return condition.message
  end
  return condition.reason or "no reason given"
end

local function when_serving(ready, speculation, metrics)
  if speculation.reason == "RolledBack" then
    return health(when_rolled_back, "rolled back, serving: " .. said(speculation))
  end
  local message = said(ready)
  if speculation.reason ~= nil and speculation.reason ~= "AsRequested" then
    message = message .. "; " .. said(speculation)
  end
  if metrics.status ~= nil and metrics.status ~= "True" then
    message = message .. "; not measured: " .. said(metrics)
  end
  return health("Healthy", message)
end

local status = obj.status
if type(status) ~= "table" or status.observedGeneration == nil then
  return health("Progressing", "waiting for the operator to look at it")
end
if obj.metadata.generation ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "waiting for the operator to look at generation " .. obj.metadata.generation)
end

local conditions = conditions_of(status)
local ready, stalled = conditions["Ready"], conditions["Stalled"]
local reconciling, paused = conditions["Reconciling"], conditions["Paused"]

if stalled.status == "True" then
  return health("Degraded", said(stalled))
end
if reconciling.status == "True" then
  return health("Progressing", said(reconciling))
end
-- A pause does not hide that nothing answers.
if paused.status == "True" and ready.reason ~= "NoReadyReplica" then
  return health("Suspended", said(paused) .. "; " .. said(ready))
end
if ready.status == "False" then
  return health("Degraded", said(ready))
end
if ready.status == "True" then
  return when_serving(ready, conditions["SpeculationActive"], conditions["MetricsAvailable"])
end
return health("Progressing", "waiting for the condition Ready")
