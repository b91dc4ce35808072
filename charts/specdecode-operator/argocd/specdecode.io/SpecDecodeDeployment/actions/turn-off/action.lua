if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["specdecode.io/force-mode"] = "Off"
return obj
