local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
-- Any new value asks for one more try.
obj.metadata.annotations["specdecode.io/retry"] = os.date("!%Y-%m-%dT%XZ")
return obj
