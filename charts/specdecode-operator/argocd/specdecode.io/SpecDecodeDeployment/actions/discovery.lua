local annotations = obj.metadata.annotations or {}
local status = obj.status or {}
local is_paused = annotations["specdecode.io/paused"] == "true"
local forced = annotations["specdecode.io/force-mode"]
local is_speculating = status.mode ~= nil and status.mode ~= "Off"

-- A pause comes before all else, a forced mode before a retry: what would have no effect is not offered.
return {
  ["retry"] = {
    ["disabled"] = is_paused or forced ~= nil or status.rollback == nil,
    ["displayName"] = "Try the rolled-back mode again",
    ["iconClass"] = "fa fa-fw fa-redo",
  },
  ["pause"] = {
    ["disabled"] = is_paused,
    ["displayName"] = "Pause: change nothing",
    ["iconClass"] = "fa fa-fw fa-pause",
  },
  ["resume"] = {
    ["disabled"] = not is_paused,
    ["displayName"] = "Resume",
    ["iconClass"] = "fa fa-fw fa-play",
  },
  ["turn-off"] = {
    ["disabled"] = is_paused or forced == "Off" or not is_speculating,
    ["displayName"] = "Turn speculation off",
    ["iconClass"] = "fa fa-fw fa-power-off",
  },
  ["clear-force"] = {
    ["disabled"] = forced == nil,
    ["displayName"] = "Let the operator choose the mode",
    ["iconClass"] = "fa fa-fw fa-undo",
  },
}
